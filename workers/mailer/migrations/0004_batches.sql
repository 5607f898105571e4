create table mailer.batches (
    tenant       text        not null,
    batch_id     uuid        not null,
    -- What every row has in common: the command without its rows.
    spec         jsonb       not null,
    -- Lines of the uploaded file that are read; null while the rows came with the command.
    read_rows    integer,
    queued_at    timestamptz not null,
    completed_at timestamptz,
    detail       text,
    primary key (tenant, batch_id)
);

create table mailer.batch_rows (
    tenant    text    not null,
    batch_id  uuid    not null,
    -- Counted from 1.
    row       integer not null,
    address   text    not null,
    variables jsonb   not null default '{}',
    -- Set when its mail is made; where that has come is said by its recipient's row.
    email_id  uuid,
    -- Why it is no mail.
    rejected  text,
    primary key (tenant, batch_id, row)
);
create index batch_rows_by_address on mailer.batch_rows (tenant, batch_id, lower(address));

-- "All mails about this are void", for those too that are not made yet or are leaving just then.
create table mailer.retractions (
    tenant     text        not null,
    cancel_key text        not null,
    at         timestamptz not null,
    primary key (tenant, cancel_key)
);

-- Returned mails name ours by their Message-ID.
create index emails_by_message_id on mailer.emails (message_id);
