create table greeter.greetings (
    tenant text   not null,
    name   text   not null,
    count  bigint not null,
    primary key (tenant, name)
);
