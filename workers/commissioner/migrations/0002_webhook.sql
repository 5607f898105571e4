-- Which secret a program's webhook is signed with; secrets themselves are derived and stand nowhere.
alter table commissioner.programs
    add column webhook_generation int not null default 1,
    -- Until when the secret before it is believed too.
    add column webhook_previous_until timestamptz;
