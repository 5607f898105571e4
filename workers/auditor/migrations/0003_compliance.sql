-- How far the watch has read each tenant's log, and the tenant's side of the conservation law up to there. Commands of the
-- auditor itself are not counted: it does not read its own outcomes.
create table auditor.watched (
    tenant text primary key,
    next_idx bigint not null default 0,
    accepted bigint not null default 0,
    succeeded bigint not null default 0,
    rejected bigint not null default 0,
    dead_lettered bigint not null default 0,
    doubled bigint not null default 0,
    doubled_at timestamptz,
    first_accepted_at timestamptz,
    read_at timestamptz not null
);

-- Commands of which one side alone has been read: accepted without an outcome, or an outcome without an acceptance.
-- A held command has both, and waits for the outcome that is final.
create table auditor.open_commands (
    tenant text not null,
    message_id text not null,
    accepted_at timestamptz,
    outcome text,
    outcome_at timestamptz,
    primary key (tenant, message_id)
);

-- The last entry of each kind that a check waits for.
create table auditor.sightings (
    tenant text not null,
    what text not null,
    idx bigint not null,
    seen_at timestamptz not null,
    primary key (tenant, what)
);

-- API keys as their bucket had them when it was last read. No key and no hash of one.
create table auditor.keys (
    tenant text not null,
    key_id uuid not null,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    primary key (tenant, key_id)
);
create table auditor.keys_read (
    only_row boolean primary key default true check (only_row),
    read_at timestamptz not null
);

-- Each change of a control's status, as the event said it. The last one is how it stands; none is `missing`.
create table auditor.control_changes (
    tenant text not null,
    control text not null,
    revision bigint not null,
    was text,
    status text not null check (status in ('met', 'missing', 'stale', 'failing')),
    detail text not null,
    evidence_log text,
    evidence_idx bigint,
    changed_at timestamptz not null,
    primary key (tenant, control, revision),
    check (was is distinct from status)
);

create table auditor.evidence (
    tenant text not null,
    evidence_id uuid not null,
    control text not null,
    title text not null,
    sha256 text,
    place text not null,
    entry bigint,
    filed_by text,
    filed_at timestamptz not null,
    effective_from timestamptz not null,
    expires_at timestamptz not null,
    withdrawn_at timestamptz,
    reason text,
    primary key (tenant, evidence_id),
    check ((sha256 is null) <> (entry is null)),
    check (expires_at > effective_from)
);
create index evidence_order on auditor.evidence (tenant, filed_at desc, evidence_id desc);

create table auditor.audits (
    tenant text not null,
    audit_id uuid not null,
    framework text not null,
    title text not null,
    scope text[] not null,
    period_from timestamptz not null,
    period_to timestamptz not null,
    lead text not null,
    planned_at timestamptz not null,
    closed_at timestamptz,
    closed_by text,
    conclusion text,
    head_size bigint,
    primary key (tenant, audit_id)
);
create index audits_order on auditor.audits (tenant, planned_at desc, audit_id desc);

create table auditor.findings (
    tenant text not null,
    finding_id uuid not null,
    audit_id uuid not null,
    control text not null,
    severity text not null,
    text text not null,
    state text not null check (state in ('open', 'remedied', 'verified')),
    recorded_at timestamptz not null,
    due_at timestamptz not null,
    remedied_by text,
    verified_by text,
    note text,
    primary key (tenant, finding_id),
    foreign key (tenant, audit_id) references auditor.audits,
    check (verified_by is distinct from remedied_by or verified_by is null)
);
create index findings_audit on auditor.findings (tenant, audit_id, recorded_at);

create table auditor.risks (
    tenant text not null,
    risk_id uuid not null,
    title text not null,
    control text,
    likelihood smallint not null,
    impact smallint not null,
    owner text not null,
    recorded_at timestamptz not null,
    treatment text,
    note text,
    treated_by text,
    review_by timestamptz,
    primary key (tenant, risk_id)
);
create index risks_order on auditor.risks (tenant, recorded_at desc, risk_id desc);

create table auditor.access_reviews (
    tenant text not null,
    review_id uuid not null,
    title text not null,
    opened_at timestamptz not null,
    due_at timestamptz not null,
    completed_at timestamptz,
    completed_by text,
    primary key (tenant, review_id)
);
create index access_reviews_order on auditor.access_reviews (tenant, opened_at desc, review_id desc);

create table auditor.reviewed_keys (
    tenant text not null,
    review_id uuid not null,
    key_id uuid not null,
    scopes text[] not null,
    created_at timestamptz not null,
    decision text check (decision in ('keep', 'revoke')),
    decided_by text,
    note text,
    primary key (tenant, review_id, key_id),
    foreign key (tenant, review_id) references auditor.access_reviews
);

create table auditor.incidents (
    tenant text not null,
    incident_id uuid not null,
    title text not null,
    severity text not null,
    state text not null check (state in ('open', 'contained', 'resolved', 'closed')),
    reported_at timestamptz not null,
    noticed_at timestamptz not null,
    tell_by timestamptz,
    told_at timestamptz,
    note text,
    primary key (tenant, incident_id)
);
create index incidents_order on auditor.incidents (tenant, reported_at desc, incident_id desc);
