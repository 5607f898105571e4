-- Files of evidence that are being copied: their bytes count against the tenant's limit before there is a row of evidence.
create table auditor.evidence_copies (
    tenant text not null,
    evidence_id uuid not null,
    size bigint not null,
    primary key (tenant, evidence_id)
);
