-- What became of each email: no address and no text, both stand in the command and the attempt ledger only.
create table mailer.emails (
    tenant     text        not null,
    email_id   uuid        not null,
    message_id text        not null,
    -- A status only ever moves to a later one: queued, uncertain, failed, sent.
    status     text        not null check (status in ('queued', 'uncertain', 'failed', 'sent')),
    transport  text        not null check (transport in ('smtp', 'file')),
    recipients integer     not null check (recipients >= 0),
    -- Recipients that the server did not take while it took others.
    refused    integer     not null default 0 check (refused >= 0),
    queued_at  timestamptz not null,
    sent_at    timestamptz,
    detail     text,
    primary key (tenant, email_id)
);
