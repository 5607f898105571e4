-- One row per text. A status only ever moves further down its list.
create table texter.messages (
    tenant          text        not null,
    message_id      uuid        not null,
    -- E.164; empty if the text was refused before it was read.
    recipient       text        not null,
    country         text        not null,
    sender          text        not null,
    provider        text        not null,
    provider_id     text,
    status          text        not null check (status in
        ('queued', 'uncertain', 'accepted', 'scheduled', 'sending', 'sent', 'undelivered', 'failed', 'canceled',
         'delivered', 'read')),
    revision        integer     not null default 1,
    encoding        text        not null,
    segments        integer     not null check (segments >= 0),
    template        text        not null default '',
    -- The text, until its fate is known, so that it can be sent once more. Never that of a code.
    body            text,
    -- Keyed hash of recipient and text: finds the same text to the same recipient.
    likeness        bytea       not null,
    verification_id uuid,
    currency        text        not null,
    estimate_micro  bigint      not null,
    actual_micro    bigint,
    error_code      integer,
    detail          text,
    -- How many calls were begun for it.
    tries           integer     not null default 1,
    day             date        not null,
    queued_at       timestamptz not null,
    sent_at         timestamptz,
    -- When its provider was first asked because nothing was heard.
    asked_at        timestamptz,
    -- For a retry, which is the same kind of text.
    category        text        not null default 'transactional',
    timezone        text,
    primary key (tenant, message_id)
);
-- A provider's text is one of ours, once.
create unique index messages_provider on texter.messages (provider, provider_id) where provider_id is not null;
-- The same words to the same recipient are on their way once at a time: told apart afterwards, they couldn't be.
create unique index messages_in_flight on texter.messages (recipient, likeness) where status = 'queued' and provider_id is null;
create index messages_unheard on texter.messages (sent_at) where actual_micro is null and asked_at is null;
create index messages_kept on texter.messages (queued_at) where body is not null;
create index messages_likeness on texter.messages (recipient, likeness, queued_at);

-- What texts cost: a text's lines add up to it.
create table texter.ledger (
    tenant       text        not null,
    message_id   uuid        not null,
    number       integer     not null,
    kind         text        not null check (kind in ('estimate', 'difference', 'release')),
    amount_micro bigint      not null,
    currency     text        not null,
    -- 1 and its segments for the estimate, the same negative for a release.
    messages     integer     not null,
    segments     integer     not null,
    day          date        not null,
    country      text        not null,
    template     text        not null,
    provider     text        not null,
    booked_at    timestamptz not null,
    primary key (tenant, message_id, number)
);
create index ledger_day on texter.ledger (tenant, day, country);

-- Counts, in two parts: what has happened since the last roll-up, only ever inserted, so that no two transactions wait
-- for one row; and the sums so far, written by one at a time.
create table texter.deltas (
    tenant  text   not null,
    day     date   not null,
    country text   not null,
    what    text   not null,
    n       bigint not null
);
create index deltas_key on texter.deltas (tenant, day, what);
create table texter.tallies (
    tenant  text   not null,
    day     date   not null,
    country text   not null,
    what    text   not null,
    n       bigint not null,
    primary key (tenant, day, what, country)
);

-- Caps of a day; country is empty for all together.
create table texter.budgets (
    tenant      text   not null,
    country     text   not null,
    daily_micro bigint not null check (daily_micro >= 0),
    primary key (tenant, country)
);
-- Fuses that have blown, and what was added to a day's cap when they were put in again.
create table texter.fuses (
    tenant     text        not null,
    country    text        not null,
    day        date        not null,
    blown      boolean     not null,
    more_micro bigint      not null default 0,
    changed_at timestamptz not null,
    primary key (tenant, country, day)
);
-- Providers that are left alone; tenant is empty for all.
create table texter.stops (
    tenant     text        not null,
    provider   text        not null,
    error_code integer     not null,
    until      timestamptz not null,
    primary key (tenant, provider)
);
