-- Versions of policies. The content never changes; where a version stands does.
create table auditor.policies (
    tenant text not null,
    policy text not null,
    version integer not null,
    title text not null,
    text text not null,
    hash text not null,
    state text not null check (state in ('draft', 'review', 'approved', 'published', 'superseded', 'retired')),
    author text not null,
    approver text,
    drafted_at timestamptz not null,
    published_at timestamptz,
    primary key (tenant, policy, version),
    check (approver is distinct from author)
);
-- One content is one version, and one version is in force.
create unique index policies_hash on auditor.policies (tenant, policy, hash);
create unique index policies_in_force on auditor.policies (tenant, policy) where state = 'published';

-- Who has acknowledged which version, by pseudonym.
create table auditor.acknowledgements (
    tenant text not null,
    policy text not null,
    version integer not null,
    pseudonym bytea not null,
    acknowledged_at timestamptz not null,
    primary key (tenant, policy, version, pseudonym),
    foreign key (tenant, policy, version) references auditor.policies
);
