-- Texts that leave later can be seen, and taken back.
alter table texter.messages drop constraint messages_status_check;
alter table texter.messages add constraint messages_status_check check (status in
    ('waiting', 'queued', 'uncertain', 'accepted', 'scheduled', 'sending', 'sent', 'undelivered', 'failed', 'canceled',
     'delivered', 'read'));
alter table texter.messages
    add column waits_for   text check (waits_for in ('send_at', 'quiet_hours', 'spend_fuse', 'provider')),
    add column waits_until timestamptz,
    -- When its provider is to send it, where it waits there.
    add column send_at     timestamptz;
create index messages_waiting on texter.messages (tenant, waits_for, country) where status = 'waiting';

-- The code, sealed: what is sent again is the same. Gone once the verification is over. Verifications from before get a
-- code of their own when they are asked for again.
alter table texter.verifications add column code_sealed text;
