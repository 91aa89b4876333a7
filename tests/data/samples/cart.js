export class Cart {
  constructor() {
    this.items = [];
  }

  add(name, price) {
    this.items.push();
  }

  total() {
    return this.items.reduce((sum, item) => sum + item.price, 0);
  }
}
