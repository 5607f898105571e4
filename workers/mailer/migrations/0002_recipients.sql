-- Each recipient by itself. `status`, `recipients` and `refused` of the email's row are the old workers'; nobody writes
-- them any more, and they go once none of those runs.
alter table mailer.emails
    drop constraint emails_transport_check,
    alter column status drop not null,
    alter column recipients drop not null,
    alter column transport drop not null,
    add column stream       text        not null default 'transactional',
    add column template     text,
    add column sender       text,
    add column confidential boolean     not null default false,
    -- What the mail is about; see retract_emails.
    add column cancel_key   text,
    add column send_at      timestamptz,
    add column cancelled_at timestamptz,
    -- The command that carries it now, if that is not the one it is named after.
    add column carrier      uuid,
    add column batch_id     uuid,
    add column batch_row    integer,
    -- As it was made; null for confidential mails and for those of a batch.
    add column subject      text,
    add column body         text,
    add column html         text,
    add column attachments  jsonb       not null default '[]';

create index emails_by_cancel_key on mailer.emails (tenant, cancel_key) where cancel_key is not null;
create index emails_by_carrier on mailer.emails (tenant, carrier) where carrier is not null;

create table mailer.recipients (
    tenant    text        not null,
    email_id  uuid        not null,
    -- Counted from 0: to, cc, bcc, each address once.
    recipient integer     not null,
    address   text        not null,
    kind      text        not null check (kind in ('to', 'cc', 'bcc')),
    -- Only moves upwards in the lattice of schemas/src/mailer/state.rs.
    state     text        not null default 'queued',
    -- How often a server was asked to take it.
    tries     integer     not null default 0,
    at        timestamptz not null,
    -- A server's words, without addresses.
    detail    text,
    primary key (tenant, email_id, recipient)
);

-- Addresses that get no mail. The stream '' stands for all of them.
create table mailer.suppressions (
    tenant  text        not null,
    address text        not null check (address = lower(address)),
    stream  text        not null default '',
    reason  text        not null check (reason in ('bounced', 'complained', 'unsubscribed', 'manual')),
    since   timestamptz not null,
    primary key (tenant, address, stream)
);

-- Streams that a tenant has named or routed. `transactional` and `marketing` need no row.
create table mailer.streams (
    tenant    text   not null,
    stream    text   not null,
    kind      text   not null check (kind in ('transactional', 'marketing')),
    -- In the order in which they are tried; empty: the installation's.
    providers text[] not null default '{}',
    primary key (tenant, stream)
);

create table mailer.sender_domains (
    tenant       text        not null,
    domain       text        not null check (domain = lower(domain)),
    proof        text        not null,
    added_at     timestamptz not null,
    confirmed_at timestamptz,
    primary key (tenant, domain)
);
-- A domain is one tenant's at a time.
create unique index sender_domains_confirmed on mailer.sender_domains (domain) where confirmed_at is not null;

-- Counters, kept in the transactions that change what they count. `slot` spreads writers: two that run at the same time
-- seldom meet in one row, and never wait for each other long. Readers sum over it.
create table mailer.daily (
    tenant     text     not null,
    day        date     not null,
    stream     text     not null,
    -- '' for mails without one.
    template   text     not null,
    slot       smallint not null,
    queued     bigint   not null default 0,
    deferred   bigint   not null default 0,
    uncertain  bigint   not null default 0,
    cancelled  bigint   not null default 0,
    suppressed bigint   not null default 0,
    failed     bigint   not null default 0,
    sent       bigint   not null default 0,
    delivered  bigint   not null default 0,
    bounced    bigint   not null default 0,
    complained bigint   not null default 0,
    unsubscribed bigint not null default 0,
    primary key (tenant, day, stream, template, slot)
);

-- Signs the links in mails. Made once, by the database's own strong source of chance; never leaves it but to the mailer.
create table mailer.link_key (
    one    boolean primary key default true check (one),
    secret bytea   not null
);
insert into mailer.link_key (secret)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
