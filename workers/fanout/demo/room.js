// One room as this page knows it: what was said, who is there, who types.

const SILENCE = 4000

export class Room {
  constructor(name, { door, client, changed }) {
    Object.assign(this, { name, door, changed, messages: new Map(), notes: [], people: new Map(), typing: new Map() })
    this.read = 0
    this.newest = 0
    this.sub = client.newSubscription(`room:${name}`, { recoverable: true })
    // The subscription's position comes first, what was said before it second: nothing falls between the two, and what
    // comes by both ways has the same id.
    this.sub.on('subscribed', ({ wasRecovering, recovered }) => {
      if (!wasRecovering || !recovered) this.load()
      this.load_people()
    })
    this.sub.on('publication', ({ data }) => this.take(data))
  }

  async enter() {
    await this.door.join(this.name)
    this.sub.subscribe()
  }

  async load() {
    const { messages } = await this.door.history(this.name)
    for (const said of messages) this.keep(said)
    this.changed(this)
  }

  async load_people() {
    const { users } = await this.door.users(this.name)
    this.people = new Map(users.map(({ user, status, read }) => [user, { status, read }]))
    this.changed(this)
  }

  // What was changed later counts, in whichever order it comes: from the history or live.
  keep(said) {
    const { message_id, revision } = said
    const known = this.messages.get(message_id)
    const late = known?.late
    const newer = late && !said.deleted_at && (late.deleted_at || Date.parse(late.edited_at) >= Date.parse(said.edited_at ?? 0))
    this.newest = Math.max(this.newest, revision)
    this.messages.set(message_id, { ...known, ...said, ...(newer ? late : {}) })
  }

  change(message_id, late) {
    const known = this.messages.get(message_id)
    if (known) Object.assign(known, late)
    this.messages.set(message_id, { ...known, message_id, late: { ...known?.late, ...late } })
  }

  take(entry) {
    const { type, revision, at, user } = entry
    if (revision) this.newest = Math.max(this.newest, type === 'read' ? 0 : revision)
    switch (type) {
      case 'message':
        this.typing.delete(user)
        this.keep(entry)
        break
      case 'edited':
        this.change(entry.message_id, { text: entry.text, edited_at: at })
        break
      case 'deleted':
        this.change(entry.message_id, { text: '', attachments: [], deleted_at: at })
        break
      case 'joined':
      case 'left':
        this.notes.push({ revision, at, text: `${user} ${type}` })
        this.load_people()
        break
      case 'notice':
        this.notes.push({ revision, at, text: JSON.stringify(entry.data) })
        break
      case 'typing':
        this.typing.set(user, Date.now() + SILENCE)
        setTimeout(() => this.changed(this), SILENCE + 50)
        break
      case 'read':
        this.people.set(user, { ...this.people.get(user), read: revision })
        break
    }
    this.changed(this)
  }

  // Everything in the room's own order.
  lines() {
    const said = [...this.messages.values()].filter(({ revision }) => revision !== undefined)
    return [...said, ...this.notes].sort((a, b) => a.revision - b.revision)
  }

  who_types(me) {
    return [...this.typing].filter(([user, until]) => user !== me && until > Date.now()).map(([user]) => user)
  }

  async say(text, file) {
    const attachments = file ? [(await this.door.share(this.name, file)).id] : []
    const mentions = [...new Set([...text.matchAll(/@([a-z0-9_-]{1,64})/g)].map(([, name]) => name))]
    await this.sub.publish({ text, mentions: mentions.filter((name) => this.people.has(name)), attachments })
  }
}
