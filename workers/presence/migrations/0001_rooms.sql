-- The last revision of every log: a room's, a user's, a tenant's. Its row is the lock that orders the log, and what is in
-- the room. `messages` counts those of a room that were not taken back.
create table presence.channels (
    tenant   text   not null,
    kind     text   not null check (kind in ('room', 'user', 'tenant')),
    id       text   not null,
    revision bigint not null,
    messages bigint not null default 0,
    primary key (tenant, kind, id)
);

create table presence.members (
    tenant    text        not null,
    room_id   text        not null,
    user_id   text        not null,
    role      text        not null check (role in ('member', 'moderator')),
    joined_at timestamptz not null,
    read_upto bigint      not null default 0,
    primary key (tenant, room_id, user_id)
);

-- The rooms of a user.
create index rooms_of on presence.members (tenant, user_id, room_id);

create table presence.messages (
    tenant     text        not null,
    room_id    text        not null,
    message_id uuid        not null,
    revision   bigint      not null,
    user_id    text        not null,
    text       text        not null,
    reply_to   uuid,
    mentions   text[]      not null,
    posted_at  timestamptz not null,
    edited_at  timestamptz,
    deleted_at timestamptz,
    primary key (tenant, room_id, message_id),
    unique (tenant, room_id, revision)
);

-- `seen` orders what was seen of a user's connections.
create table presence.people (
    tenant   text        not null,
    user_id  text        not null,
    status   text        not null check (status in ('online', 'away', 'offline')),
    since    timestamptz not null,
    revision bigint      not null,
    seen     bigint      not null,
    primary key (tenant, user_id)
);

create index people_there on presence.people (tenant, user_id) where status <> 'offline';
