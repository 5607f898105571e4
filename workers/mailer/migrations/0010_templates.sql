-- A tenant's own templates. A version never changes: what was sent by it can always be said.
create table mailer.templates (
    tenant     text        not null,
    name       text        not null,
    -- How many versions there are; they count from 1.
    versions   integer     not null check (versions >= 1),
    -- The version that mails use; none: the one that everybody has, if there is one.
    active     integer     check (active between 1 and versions),
    -- Grows with every change; events carry it.
    revision   bigint      not null,
    updated_at timestamptz not null,
    primary key (tenant, name)
);

create table mailer.template_versions (
    tenant     text        not null,
    name       text        not null,
    version    integer     not null check (version >= 1),
    -- As their author wrote them.
    subject    text        not null,
    text       text        not null,
    html       text,
    variables  jsonb       not null,
    created_at timestamptz not null,
    created_by text,
    primary key (tenant, name, version),
    foreign key (tenant, name) references mailer.templates (tenant, name)
);

-- By which template a mail was made, and of what. Confidential values are never here.
create table mailer.template_sends (
    tenant    text        not null,
    email_id  uuid        not null,
    name      text        not null,
    -- 0: the one that everybody has.
    version   integer     not null check (version >= 0),
    variables jsonb       not null,
    queued_at timestamptz not null,
    primary key (tenant, email_id)
);

create index template_sends_by_name on mailer.template_sends (tenant, name, queued_at desc, email_id desc);
