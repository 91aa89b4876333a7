async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) {
    
  }
  return response.json();
}

module.exports = { fetchJson };
