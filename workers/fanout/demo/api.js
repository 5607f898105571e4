// The HTTP half: commands in, and what they come to.

export class Refused extends Error {}

// Asks the door with the credential, which stays in this page's memory alone. With an API key the page acts for `user`; a
// token acts for its own.
export const door = (credential, user) => {
  const byKey = credential.startsWith('omk_')
  const ask = async (method, path, { body, file } = {}) => {
    const headers = { authorization: `Bearer ${credential}` }
    if (method !== 'GET') headers.prefer = 'wait=10'
    if (file) headers['content-type'] = file.type || 'application/octet-stream'
    if (body) headers['content-type'] = 'application/json'
    const answer = await fetch(`/api/v1/websocket/${path}`, { method, headers, body: file ?? (body && JSON.stringify(body)) })
    const said = await answer.json().catch(() => ({}))
    if (!answer.ok) throw new Refused(said.faults?.[0]?.detail ?? said.detail ?? `${answer.status}`)
    return said
  }
  const named = byKey ? { user } : {}
  const query = new URLSearchParams(named)
  return {
    ticket: () => ask('POST', 'connect', { body: byKey ? { user, scopes: ['websocket:read', 'websocket:write'] } : {} }),
    join: (room) => ask('POST', `rooms/${room}/join`, { body: named }),
    users: (room) => ask('GET', `rooms/${room}/users`),
    history: (room) => ask('GET', `rooms/${room}/history?limit=100`),
    edit: (room, id, text) => ask('PUT', `rooms/${room}/messages/${id}`, { body: { ...named, text } }),
    remove: (room, id) => ask('DELETE', `rooms/${room}/messages/${id}?${query}`),
    share: (room, file) =>
      ask('POST', `rooms/${room}/files?${new URLSearchParams({ ...named, filename: file.name })}`, { file }),
    link: (room, id) => ask('GET', `rooms/${room}/files/${id}`),
  }
}
