-- Each row is written when its mail is queued and once more when it has left, often by whole batches. With room beside it the
-- second goes there, and no index is written again: none names what changes. A little more than half of a page is room, for
-- the second is a little longer.
alter table mailer.emails set (fillfactor = 45);
alter table mailer.recipients set (fillfactor = 45);
