// The page: draws what the rooms know, and passes on what is typed.

import { door as doorOf } from './api.js'
import { Room } from './room.js'

const at = (id) => document.getElementById(id)
const rooms = new Map()
let me, door, client, shown

// Text goes into the page as text, never as markup.
const made = (tag, { text, ...properties } = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties)
  if (text !== undefined) node.textContent = text
  node.append(...children)
  return node
}

const tell = (error) => {
  at('refused').textContent = at('typing').textContent = error.message
}

const attachment = (room, { file_id, filename, size }) =>
  made('button', {
    text: `${filename} (${size} bytes)`,
    onclick: () => room.door.link(room.name, file_id).then(({ path }) => location.assign(path), tell),
  })

const line = (room, said) => {
  const time = made('time', { text: new Date(said.at).toLocaleTimeString() })
  if (said.message_id === undefined) return made('li', { className: 'note' }, time, said.text)
  const item = made('li', {}, time, made('b', { text: said.user }))
  item.dataset.message = said.message_id
  item.classList.toggle('named', said.mentions?.includes(me) ?? false)
  item.append(made('span', { text: said.deleted_at ? 'taken back' : said.text, className: said.deleted_at ? 'note' : 'text' }))
  if (said.edited_at && !said.deleted_at) item.append(made('span', { text: ' (edited)', className: 'note' }))
  for (const file of said.attachments ?? []) item.append(attachment(room, file))
  const seen = [...room.people].filter(([user, { read }]) => user !== said.user && user !== me && read >= said.revision)
  if (said.user === me && seen.length) item.append(made('span', { text: ` ✓ ${seen.map(([user]) => user).join(', ')}`, className: 'note seen' }))
  if (said.user === me && !said.deleted_at) {
    const change = () => {
      const text = prompt('Say it otherwise', said.text)
      if (text) room.door.edit(room.name, said.message_id, text).catch(tell)
    }
    item.append(
      made('button', { text: 'edit', onclick: change }),
      made('button', { text: 'take back', onclick: () => room.door.remove(room.name, said.message_id).catch(tell) }),
    )
  }
  return item
}

const draw = (room) => {
  if (room !== shown) return
  const log = at('log')
  const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40
  log.replaceChildren(...room.lines().map((said) => line(room, said)))
  if (below) log.scrollTop = log.scrollHeight
  at('people').replaceChildren(
    ...[...room.people].filter(([, { status }]) => status).map(([user, { status }]) => {
      const item = made('li', { text: user, title: status })
      item.dataset.status = status
      return item
    }),
  )
  const typing = room.who_types(me)
  at('typing').textContent = typing.length ? `${typing.join(', ')} …` : ''
  for (const button of at('rooms').children) button.setAttribute('aria-current', button.textContent === room.name)
  if (document.visibilityState === 'visible' && room.newest > room.read && client.state === 'connected') {
    room.read = room.newest
    client.rpc('read', { channel: `room:${room.name}`, revision: room.newest }).catch(() => { room.read = 0 })
  }
}

const show = (room) => {
  shown = room
  draw(room)
}

at('enter').addEventListener('submit', async (event) => {
  event.preventDefault()
  const { credential, user, rooms: names } = Object.fromEntries(new FormData(event.target))
  try {
    door = doorOf(credential, user)
    const first = await door.ticket()
    me = first.user
    let given = first.ticket
    client = new Centrifuge(first.url.split('?')[0], {
      // A ticket is good once: every new connection asks for another.
      getToken: async () => {
        const ticket = given ?? (await door.ticket()).ticket
        given = undefined
        return ticket
      },
      // A page in the background that comes back must not look as if somebody was at it.
      getData: async () => ({ away: document.visibilityState !== 'visible' }),
      minReconnectDelay: 200,
      maxReconnectDelay: 3000,
    })
    for (const state of ['connecting', 'connected', 'disconnected']) {
      client.on(state, () => { at('connection').textContent = state })
    }
    client.on('connected', tell_away)
    client.connect()
    // The domain's events tell of every room, so people's tokens do not reach them: who is there is asked for.
    setInterval(() => shown?.load_people().catch(() => {}), 3000)
    for (const name of names.split(' ').filter(Boolean)) {
      const room = new Room(name, { door, client, changed: draw })
      rooms.set(name, room)
      await room.enter()
    }
    at('rooms').replaceChildren(
      ...[...rooms.values()].map((room) => made('button', { text: room.name, onclick: () => show(room) })),
    )
    at('enter').hidden = true
    at('chat').hidden = false
    show([...rooms.values()][0])
  } catch (error) {
    client?.disconnect()
    rooms.clear()
    tell(error)
  }
})

const form = at('say')
let told = 0
form.elements.text.addEventListener('input', () => {
  if (Date.now() - told < 2000 || client.state !== 'connected') return
  told = Date.now()
  client.rpc('typing', { channel: `room:${shown.name}` }).catch(() => {})
})
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const { text, file } = form.elements
  if (!text.value) return
  try {
    await shown.say(text.value, file.files[0])
    form.reset()
  } catch (error) {
    tell(error)
  }
})

// What has changed while there was no connection is told when there is one again.
const tell_away = () => {
  if (client?.state === 'connected') client.rpc('away', { away: document.visibilityState !== 'visible' }).catch(() => {})
}
document.addEventListener('visibilitychange', () => {
  tell_away()
  if (shown) draw(shown)
})
