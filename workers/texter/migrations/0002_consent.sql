-- Who may not be written to. An empty sender is all of the tenant's.
create table texter.opt_outs (
    tenant    text        not null,
    recipient text        not null,
    sender    text        not null,
    covers    text        not null check (covers in ('all', 'marketing')),
    source    text        not null check (source in ('word', 'provider', 'command')),
    since     timestamptz not null,
    primary key (tenant, recipient, sender)
);

-- When texts wait, on the recipient's clock; minutes since midnight.
create table texter.quiet_hours (
    tenant   text    primary key,
    begins   integer not null check (begins between 0 and 1439),
    ends     integer not null check (ends between 0 and 1439),
    timezone text    not null
);
