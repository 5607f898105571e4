-- Claims on hosts. Many tenants may claim one; only one serves at a time, and only with its own proof in DNS.
create table brander.domains (
    tenant             text        not null,
    host               text        not null,
    status             text        not null check (status in ('pending', 'verified', 'failing', 'taken_down')),
    -- What the TXT record must say. Made from the tenant, the host and the claim.
    record_value       text        not null,
    added_at           timestamptz not null,
    verified_at        timestamptz,
    checked_at         timestamptz,
    finding            text        check (finding in ('proved', 'missing', 'unanswered')),
    -- Since when DNS says that the proof is missing. Silence does not begin it.
    failing_since      timestamptz,
    warned_at          timestamptz,
    down_why           text        check (down_why in ('proof_missing', 'proved_by_another')),
    -- Taken down by another tenant's command, which can tell this tenant nothing: its own next check does.
    untold             boolean     not null default false,
    -- The certificate's status, which is not the host's.
    certificate        text        not null default 'none'
        check (certificate in ('none', 'ordered', 'checking', 'issued', 'failed')),
    certificate_until  timestamptz,
    certificate_detail text,
    primary key (tenant, host)
);
create unique index domains_serving on brander.domains (host) where status in ('verified', 'failing');
create index on brander.domains (checked_at) where status in ('verified', 'failing') or untold;

-- Every replica keeps the hosts that serve in memory and follows this.
create function brander.tell_host() returns trigger language plpgsql as $$
begin
    perform pg_notify('brander_hosts', coalesce(new.host, old.host));
    return null;
end $$;
create trigger tell_host after insert or update of status or delete on brander.domains
    for each row execute function brander.tell_host();
