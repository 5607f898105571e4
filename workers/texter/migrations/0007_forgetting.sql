-- What is forgotten each minute is found by its time, however much stays.
create index code_requests_at on texter.code_requests (at);
create index alarms_window on texter.alarms (window_start);
create index verifications_created on texter.verifications (created_at);
create index verifications_sealed on texter.verifications (expires_at) where code_sealed is not null;
create index lockouts_until on texter.lockouts (until);
-- The words of a text go by the time at which it was sent, or is to be.
drop index texter.messages_kept;
create index messages_kept on texter.messages (coalesce(send_at, sent_at, queued_at)) where body is not null;
