-- What showed that a domain is the tenant's. Null for those that were confirmed before DNS was asked: by the operator.
alter table mailer.sender_domains
    add column confirmed_by text check (confirmed_by in ('dns', 'operator'));
