-- Copies whose command ended without its evidence being filed: what they have left in the store is still to be removed, and
-- counts against no limit any more.
alter table auditor.evidence_copies add column given_up_at timestamptz;
