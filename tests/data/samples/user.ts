interface User {
  id: number;
  name: string;
  email: string;
}

export function describe(user: User): string {
  return `${user.name} <${}>`;
}
