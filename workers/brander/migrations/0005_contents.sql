-- What lies in the bucket `assets`. Who is about to store a content claims it first; what nobody's asset refers to any more
-- is cleared away some time after its last claim. Held while it is cleared, so that nobody finds what is just going.
create table brander.contents (
    hash       text        primary key check (hash ~ '^[0-9a-f]{64}$'),
    claimed_at timestamptz not null
);
insert into brander.contents
select hash, max(stored_at) from (
    select hash, stored_at from brander.assets
    union all select mail_hash, stored_at from brander.assets where mail_hash is not null) as known
group by hash;
