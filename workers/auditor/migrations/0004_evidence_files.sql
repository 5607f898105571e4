-- Evidence that is a file of its own, kept in the object store `evidence` as <tenant>/<evidence id>. The row stays when the
-- file is removed.
alter table auditor.evidence
    add column filename text,
    add column content_type text,
    add column size bigint,
    add column removed_at timestamptz,
    add constraint evidence_file check (
        (filename is null) = (content_type is null)
        and (filename is null) = (size is null)
        and (filename is null or sha256 is not null)
        and (removed_at is null or filename is not null)
    );
-- What retention looks at.
create index evidence_files on auditor.evidence (expires_at) where filename is not null and removed_at is null;
