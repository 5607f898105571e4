-- How many more final outcomes were read of a command whose acceptance was not read yet: the streams are read each by itself.
alter table auditor.open_commands add column again integer not null default 0;
