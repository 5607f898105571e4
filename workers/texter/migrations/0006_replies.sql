-- Words that came in and were answered: each of a number's once a day.
create table texter.replies (
    tenant     text not null,
    recipient  text not null,
    word       text not null check (word in ('stop', 'start', 'help')),
    day        date not null,
    -- The text that answers it. Where the word is a stop, the one text that this does not stop.
    message_id uuid not null,
    primary key (tenant, recipient, word, day)
);
create index replies_day on texter.replies (day);
