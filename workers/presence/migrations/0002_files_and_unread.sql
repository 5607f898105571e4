-- Files of rooms. What is in them lies in the object store `room_files`. A row is there before its object, so that no object
-- is without a row: `shared_at` is null until it has been copied. `uses` counts the messages that name it.
create table presence.files (
    tenant       text        not null,
    room_id      text        not null,
    file_id      uuid        not null,
    user_id      text        not null,
    filename     text        not null,
    content_type text        not null,
    size         bigint      not null,
    sha256       text        not null,
    shared_at    timestamptz,
    uses         integer     not null default 0,
    primary key (tenant, room_id, file_id)
);

-- The files of a user.
create index files_of on presence.files (tenant, user_id);

-- Files that are nobody's any more, until their objects are removed.
create table presence.discarded (
    tenant  text not null,
    file_id uuid not null,
    primary key (tenant, file_id)
);

-- Signs the links to files.
create table presence.link_key (
    one    boolean primary key default true check (one),
    secret bytea   not null
);
insert into presence.link_key (secret)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

alter table presence.messages add column attachments jsonb not null default '[]';

-- Where users are written to when what names them stays unread.
create table presence.contacts (
    tenant  text not null,
    user_id text not null,
    email   text not null,
    primary key (tenant, user_id)
);

-- A user's messages of a room up to `told_upto` were told of, by mail, or never will be.
alter table presence.members add column told_upto bigint not null default 0;

-- The first `told_upto` since the user had read all that he was told of.
alter table presence.members add column told_since bigint not null default 0;

-- When it is looked next whether a user has read what names him. One look for each member at a time.
alter table presence.members add column look_at timestamptz;

-- Messages that name somebody, to find those that a reader has not read.
create index messages_that_name on presence.messages (tenant, room_id, revision)
    where mentions <> '{}' and deleted_at is null;
