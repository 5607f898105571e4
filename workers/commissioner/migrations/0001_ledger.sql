-- Every key begins with the tenant. Amounts are in the minor unit of the row's currency, rates in basis points.

create table commissioner.programs (
    tenant text not null,
    program text not null,
    version int not null,
    currency text not null,
    next_run_at timestamptz,
    -- Changes of the tree follow each other; the row is their lock.
    tree_changed_at timestamptz,
    primary key (tenant, program)
);

-- Never changed once written: an order names the version it was made under.
create table commissioner.rules (
    tenant text not null,
    program text not null,
    version int not null,
    effective_from timestamptz not null,
    window_days int not null,
    rules jsonb not null,
    primary key (tenant, program, version)
);

create table commissioner.partners (
    tenant text not null,
    partner_id uuid not null,
    program text not null,
    name text not null,
    email text not null,
    -- As it is compared: one mailbox, one key.
    email_key text not null,
    payment_fingerprint text,
    device text,
    payout_account text,
    status text not null check (status in ('pending', 'approved', 'rejected', 'suspended')),
    -- The parent of today; what it was at any time stands in commissioner.parents.
    parent_id uuid,
    revision bigint not null,
    registered_at timestamptz not null,
    primary key (tenant, partner_id),
    unique (tenant, program, email_key),
    check (parent_id <> partner_id)
);
create index partners_by_program on commissioner.partners (tenant, program, registered_at, partner_id);
create index partners_by_parent on commissioner.partners (tenant, parent_id) where parent_id is not null;

create table commissioner.parents (
    tenant text not null,
    partner_id uuid not null,
    effective_from timestamptz not null,
    parent_id uuid,
    primary key (tenant, partner_id, effective_from),
    check (parent_id <> partner_id)
);

create table commissioner.tiers (
    tenant text not null,
    partner_id uuid not null,
    effective_from timestamptz not null,
    tier text not null check (tier in ('bronze', 'silver', 'gold', 'platinum')),
    given_by text not null check (given_by in ('rule', 'hand')),
    primary key (tenant, partner_id, effective_from)
);

-- In lower case: codes know none.
create table commissioner.codes (
    tenant text not null,
    code text not null check (code = lower(code)),
    program text not null,
    partner_id uuid not null,
    primary key (tenant, code)
);
create index codes_by_partner on commissioner.codes (tenant, partner_id);

-- A link's code stands in an address that names no tenant, so it is unique among all; none is chosen by anybody.
create table commissioner.links (
    link text primary key check (link = lower(link)),
    tenant text not null,
    program text not null,
    partner_id uuid not null,
    destination text not null
);
create index links_by_partner on commissioner.links (tenant, partner_id);

create table commissioner.clicks (
    tenant text not null,
    click_id uuid not null,
    program text not null,
    partner_id uuid not null,
    link text not null,
    clicked_at timestamptz not null,
    consent boolean not null,
    referrer text,
    primary key (tenant, click_id)
);
create index clicks_by_partner on commissioner.clicks (tenant, partner_id, clicked_at);

create table commissioner.customers (
    tenant text not null,
    program text not null,
    customer_id text not null,
    partner_id uuid not null,
    bound_at timestamptz not null,
    bound_by text not null check (bound_by in ('code', 'click')),
    primary key (tenant, program, customer_id)
);
create index customers_by_partner on commissioner.customers (tenant, partner_id, bound_at, customer_id);

-- What was true when the order was made: whom it is due to and why, rules, tier and parents. Only `review` changes.
create table commissioner.orders (
    tenant text not null,
    program text not null,
    order_id text not null,
    content uuid not null,
    command_id uuid not null,
    customer_id text not null,
    currency text not null,
    ordered_at timestamptz not null,
    recorded_at timestamptz not null,
    partner_id uuid,
    attribution text not null check (attribution in ('bound', 'code', 'click', 'none')),
    click_id uuid,
    rules_version int not null,
    tier text not null,
    parents uuid[] not null,
    available_at timestamptz not null,
    review text not null check (review in ('none', 'held', 'cleared', 'refused')),
    reasons text[] not null,
    review_note text,
    primary key (tenant, program, order_id)
);
create index orders_held on commissioner.orders (tenant, program, ordered_at, order_id) where review = 'held';
create index orders_by_customer on commissioner.orders (tenant, program, customer_id);

create table commissioner.lines (
    tenant text not null,
    program text not null,
    order_id text not null,
    line_id text not null,
    amount bigint not null,
    tax bigint not null,
    shipping bigint not null,
    discount bigint not null,
    -- Of what commissions are taken, in their currency, which is another than the order's where a rate stands.
    base bigint not null,
    base_currency text not null,
    fx_rate_e9 bigint,
    refunded bigint not null check (refunded between 0 and amount),
    primary key (tenant, program, order_id, line_id)
);

create table commissioner.refunds (
    tenant text not null,
    program text not null,
    order_id text not null,
    refund_id text not null,
    line_id text not null,
    amount bigint not null check (amount >= 0),
    whole boolean not null,
    refunded_at timestamptz not null,
    primary key (tenant, program, order_id, refund_id, line_id)
);

-- Never changed once written. What became of one since stands in the ledger.
create table commissioner.commissions (
    tenant text not null,
    program text not null,
    order_id text not null,
    line_id text not null,
    level smallint not null,
    partner_id uuid not null,
    commission_id uuid not null,
    rate_bp int not null,
    base bigint not null,
    amount bigint not null check (amount >= 0),
    currency text not null,
    ordered_at timestamptz not null,
    primary key (tenant, program, order_id, line_id, level, partner_id)
);
create unique index commissions_by_id on commissioner.commissions (tenant, commission_id);
create index commissions_by_partner on commissioner.commissions (tenant, partner_id, ordered_at, commission_id);

-- The ledger. One row is one whole transaction: what one account is debited the other is credited, in one currency, so
-- there is no way to write an unbalanced one. Accounts: expense and bank are the program's; partner (what the program
-- owes) and clearing (on its way) are the partner's.
create table commissioner.transfers (
    tenant text not null,
    transfer_id uuid not null,
    program text not null,
    partner_id uuid not null,
    kind text not null,
    debit text not null,
    credit text not null,
    amount bigint not null check (amount > 0),
    currency text not null check (length(currency) = 3),
    booked_at timestamptz not null,
    -- From when it counts towards a payout: a refund's as its commission's.
    available_at timestamptz not null,
    commission_id uuid,
    order_id text,
    refund_id text,
    payout_id uuid,
    primary key (tenant, transfer_id),
    check ((kind, debit, credit) in (
        ('earned', 'expense', 'partner'),
        ('reversed', 'partner', 'expense'),
        ('reserved', 'partner', 'clearing'),
        ('paid', 'clearing', 'bank'),
        ('failed', 'clearing', 'partner'),
        ('returned', 'clearing', 'partner'),
        ('returned', 'bank', 'partner')
    )),
    check ((kind in ('earned', 'reversed')) = (commission_id is not null)),
    check ((kind in ('earned', 'reversed')) = (order_id is not null)),
    check ((kind in ('earned', 'reversed')) <> (payout_id is not null))
);
create index transfers_by_partner on commissioner.transfers (tenant, partner_id, booked_at, transfer_id);
create index transfers_by_program on commissioner.transfers (tenant, program, booked_at, transfer_id);
create index transfers_by_order on commissioner.transfers (tenant, program, order_id) where order_id is not null;

create function commissioner.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is only ever added to: book a transfer the other way';
end $$;
create trigger only_added_to before update or delete or truncate on commissioner.transfers
    for each statement execute function commissioner.refuse_change();

-- Both sides of every transfer: a credit is above nothing, a debit below.
create view commissioner.entries as
    select tenant, transfer_id, program, partner_id, credit as account, amount, currency, kind, booked_at
    from commissioner.transfers
    union all
    select tenant, transfer_id, program, partner_id, debit, -amount, currency, kind, booked_at
    from commissioner.transfers;

-- Derived, never stored.
create view commissioner.balances as
    select tenant, program, partner_id, account, currency, sum(amount)::bigint as balance
    from commissioner.entries group by tenant, program, partner_id, account, currency;

create table commissioner.payouts (
    tenant text not null,
    payout_id uuid not null,
    program text not null,
    partner_id uuid not null,
    amount bigint not null check (amount > 0),
    currency text not null,
    status text not null
        check (status in ('reserved', 'submitted', 'uncertain', 'confirmed', 'failed', 'returned')),
    provider text,
    reference text,
    detail text,
    -- Whom it pays, as of the first try: under one key goes out one content.
    name text,
    account text,
    -- The command that hands it over; nobody else may.
    submitted_by uuid,
    -- Was it ever not known whether it left? Then it never fails by itself.
    doubted boolean not null default false,
    reserved_at timestamptz not null,
    revision int not null,
    primary key (tenant, payout_id)
);
create index payouts_by_program on commissioner.payouts (tenant, program, reserved_at, payout_id);
create index payouts_by_partner on commissioner.payouts (tenant, partner_id, reserved_at, payout_id);

-- Which ledger transfers a payout settles. A transfer is in at most one payout that has not failed or come back.
create table commissioner.payout_items (
    tenant text not null,
    payout_id uuid not null,
    transfer_id uuid not null,
    live boolean not null,
    primary key (tenant, payout_id, transfer_id)
);
create unique index payout_items_live on commissioner.payout_items (tenant, transfer_id) where live;

create table commissioner.checks (
    tenant text not null,
    program text not null,
    checked_at timestamptz not null,
    orders bigint not null,
    differences bigint not null,
    primary key (tenant, program)
);

-- What may go into a payout once `available_at` has come: earned less taken back, in no live payout, not under review.
create view commissioner.payable as
    select t.tenant, t.program, t.partner_id, t.currency, t.transfer_id, t.available_at,
        case t.kind when 'earned' then t.amount else -t.amount end as amount
    from commissioner.transfers t
    where t.kind in ('earned', 'reversed')
        and not exists (
            select 1 from commissioner.payout_items i
            where i.tenant = t.tenant and i.transfer_id = t.transfer_id and i.live)
        and not exists (
            select 1 from commissioner.orders o
            where o.tenant = t.tenant and o.program = t.program and o.order_id = t.order_id and o.review = 'held');
