-- Files that were uploaded, by the id of the command that brought them. What is in them lies in the object store.
create table mailer.attachments (
    tenant        text        not null,
    attachment_id uuid        not null,
    bucket        text        not null,
    object        text        not null,
    filename      text        not null,
    content_type  text        not null,
    size          bigint      not null check (size >= 0),
    -- Lower case hex.
    sha256        text        not null,
    uploaded_at   timestamptz not null,
    primary key (tenant, attachment_id)
);
