-- Each acquisition writes: a vanished holder leaves a new version of the row, and others wait for it.
CREATE OR REPLACE FUNCTION dbsemaphore._holder_key(ticket_id bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dbsemaphore.ticket t SET slot = t.slot WHERE t.id = ticket_id;
    RETURN x'db00000000000000'::bigint | ((ticket_id & 67108863) << 30)
        | ((date_part('epoch', clock_timestamp()) * 32)::bigint & 1073741823);
END
$$;
