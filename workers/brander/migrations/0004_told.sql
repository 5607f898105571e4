-- A certificate that was made, renewed or given up is told as any change of its host is.
create trigger tell_certificate after insert or update or delete on brander.certificates
    for each row execute function brander.tell_host();
