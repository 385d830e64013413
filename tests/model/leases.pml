/* Do the rules R1 to R10 of poller/core/leases/ keep their promises?

Spin tries every order of events in this model: workers, a table and a clock. A worker may crash or stop at any moment,
and the answer to any write may be lost. `test_leases_model.py` lists the configurations that spin checks. It also
breaks one rule after the other, and then spin must find a history that breaks a promise.

How to read Promela: `:: guard -> step` may happen while its guard is true; `do .. od` repeats such choices for ever;
a `d_step` or an `inline` in it is one step; (a -> b : c) is "b if a, else c"; `assert` is a promise.
An `#ifdef` or `#ifndef` with the name of a rule is a fault that the test puts in.

The table. Each accepted write of a row adds one to the counter, so no value of a counter returns. Therefore the model
has no numbers for counters. It notes for each value that somebody remembers whether it is still the table's value
(`knows`, `valid`). A token is such a value, too (`old`).

Time. A tick is a third of the lease duration. At each tick the clock of a worker moves by 9, 10 or 11 units: the
clocks run at different rates. Events between two ticks happen in any order.

There are two kinds of configurations:

    free        A worker may sleep for any time between any two steps. So a promise that holds here holds for all
                pauses, crashes and lost or late answers, however many. The promises are the assertions.
    PUNCTUAL    A tick waits until each running worker has done all that it may do. There are at most FAULTS faults.
                Each worker scans the table at every third tick; meanwhile it decides by what it saw then.
                The promise is an `ltl` formula at the end: `<>` is "at some time", `[]` is "always".

Not in the model:

    offers          An offer makes a worker read a row earlier than its next scan, and nothing depends on that.
                    The same holds for the message of a worker that stops.
    loads           Each shard is as heavy as the others.
    late takes      A worker takes a free lease whose place is at another worker if it has waited for a lease duration.
                    In a free configuration each worker may take each free lease, so its promises hold for this, too.
    deleted rows    The counter of a row that is deleted and created again begins at 1. R3 says when this may happen.
    persons         A person may move a position, but only while nobody reads the shard.

Each rule names the code that implements it, as "In the code: MODULE:NAME". A test checks that these names exist.
*/

#ifndef WORKERS
#define WORKERS 2                      /* or 3 */
#endif
#ifndef SHARDS
#define SHARDS 1                       /* or 2; with CHILD, the second one is a child of the first */
#endif
#ifndef UNITS
#define UNITS 0                        /* 1: the function of these shards has one unit of concurrency */
#endif
#ifndef RECORDS
#define RECORDS 2                      /* in each shard; with ENDLESS, nobody reaches the end of a shard */
#endif
#ifndef FAULTS
#define FAULTS 0
#endif

#define ROWS (SHARDS + UNITS)
#define IS_SHARD(row) ((row) < SHARDS)
#define UNIT (ROWS - 1)                /* the row of the unit, if there is one */

#define RATE(worker) ((worker) == 0 -> 9 : ((worker) == 1 -> 11 : 10))
#define LEASE_DURATION 30              /* three ticks of a true clock */
#ifndef R4_WHOLE_DURATION
#define SAFE 24                        /* SAFE_PART of the lease duration */
#else
#define SAFE LEASE_DURATION
#endif

/* ---- The table, and what a worker remembers of one row ---- */

#define NOBODY 100
#define GONE 101                       /* an earlier run of a worker, which has ended */
#define NOT_SEEN 102

typedef Row {
    bool exists;
    byte owner = NOBODY;
    byte checkpoint;                   /* so many records are stored as done */
    byte taker = NOBODY;               /* not in the real row: the worker whose take was accepted last */
}
Row table[ROWS];

#define IS_DRAINED(row) (IS_SHARD(row) && table[row].checkpoint == RECORDS)

mtype = { NOTHING, TAKE, KEEP, GIVE }; /* the writes; KEEP renews the lease and stores the checkpoint */
mtype = { TRAVELS, ACCEPTED, UNCLEAR };

typedef Lease {
    bool knows;                        /* the counter that the worker read last is still the table's */
    byte unmoved;                      /* for so long the worker has seen this counter, on its own clock */
    byte left;                         /* time until the deadline, on its own clock; 0: it does not hold the lease */
    byte done;                         /* so many records of the shard are done */
    bool running;                      /* an invocation runs */
    bool promised;                     /* the worker has granted a request with this lease (R8) */
    bool giving;                       /* the worker has sent a write that gives the lease away */
    bool checked;                      /* it was stopped between the check of the deadline and an invocation */
    bool old;                          /* and since then a take was accepted, which has a larger token */

    mtype write = NOTHING;             /* the write whose answer the worker waits for */
    mtype answer = TRAVELS;            /* UNCLEAR: the write was rejected, or its answer is lost */
    bool valid;                        /* the counter in the write, later that in the answer, is the table's */
    byte allows;                       /* if the write is accepted, the worker holds the lease for so long */
    byte stores;                       /* the checkpoint in the write */

    mtype late = NOTHING;              /* a write that still travels although its sender does not wait any more */
    byte late_owner;
    byte late_stores;
}
Lease lease[WORKERS * ROWS];

#define OF(worker, row) lease[(worker) * ROWS + (row)]
#define HOLDS(worker, row) (OF(worker, row).left > 0)

bool dead[WORKERS];
bool stopped[WORKERS];
#define RUNS(worker) (!dead[worker] && !stopped[worker])

#ifndef PUNCTUAL
#define A_FAULT_MAY_HAPPEN true
#define COUNT_THE_FAULT skip
#else
byte faults = FAULTS;
#define A_FAULT_MAY_HAPPEN (faults > 0)
#define COUNT_THE_FAULT faults--
bool invoked[WORKERS * ROWS];          /* the worker has begun an invocation since the last tick; the next one waits */
bool has_asked[WORKERS];               /* the worker has sent a request since the last tick; the next one waits */
bool is_asked[WORKERS];                /* the worker's row has a request for shards (R8) */
byte scan_in[WORKERS];                 /* the worker scans the table after so many ticks; 0: now */
byte sees[WORKERS * ROWS] = NOT_SEEN;  /* the owner of the row when the worker read it last */
bool leaving[WORKERS];                 /* the worker has got SIGTERM */
byte counted[WORKERS] = 3;             /* for so many ticks the other workers count this worker as one that lives */
#define IS_COUNTED(worker) (counted[worker] > 0 && !leaving[worker])     /* a worker that stops says so in its row */
#if UNITS > 0
bool is_asked_for_unit[WORKERS];       /* the worker's row has a request for the unit (R8) */
bool needs_unit[WORKERS];              /* an invocation waits at this worker, and no other worker can run it (R10) */
#endif
#endif

/* With MUTE, a fault may let each later write of worker 0 arrive without an answer, for ever. So the answer to the write
   of its own row is missing, too: then it takes nothing (R6), and the others do not count it as one that lives. */
#ifndef MUTE
#define IS_MUTE(me) false
#define HAS_TRIED(me, row) false
#define HAS_ANSWERS(me, row) true
#else
bool mute;
bool tried[WORKERS * ROWS];            /* the worker has written the row in vain since the last tick; the next try waits */
#define IS_MUTE(me) ((me) == 0 && mute)
#define HAS_TRIED(me, row) tried[(me) * ROWS + (row)]
#ifndef R6_TAKES_ON
#define HAS_ANSWERS(me, row) (!IS_MUTE(me))
#else
#define HAS_ANSWERS(me, row) (!HAS_TRIED(me, row))
#endif
#endif

byte n, m, sender, content;            /* variables inside one step; they are 0 between two steps */
mtype kind = NOTHING;

/* ---- What a worker may do with one row ---- */

#define IS_IDLE(me, row) (OF(me, row).write == NOTHING)

#define MAY_READ(me, row) (IS_IDLE(me, row) && table[row].exists && !OF(me, row).knows && !IS_DRAINED(row) && \
    IS_TIME_TO_SCAN(me))

/* R2: take. In the code: poller.core.leases.expiry:Observed.may_take
   A worker that is told of the end of a process (poller.core.leases.expiry:Observed.died) need not wait. In a free
   configuration each worker may be told, or not. In the others nobody is told, as it is with workers on several hosts.
   If the answer to a take was lost, the code may renew the lease instead of a second take. That is the same step. */
#if defined(WITHOUT_R2)
#define HAS_EXPIRED(me, row) true
#elif defined(R2_NEVER_EXPIRES)
#define HAS_EXPIRED(me, row) false
#else
#define HAS_EXPIRED(me, row) (OF(me, row).unmoved >= LEASE_DURATION)
#endif
#if defined(PUNCTUAL)
#define HAS_ENDED(owner_) false
#elif defined(R2_TAKES_FROM_THE_STOPPED)
#define HAS_ENDED(owner_) ((owner_) == GONE || ((owner_) < WORKERS && stopped[owner_]))
#else
#define HAS_ENDED(owner_) ((owner_) == GONE)
#endif
#define IS_FREE(me, row) (table[row].owner == NOBODY || table[row].owner == me || HAS_ENDED(table[row].owner) || \
    HAS_EXPIRED(me, row))
#define MAY_TAKE(me, row) (IS_IDLE(me, row) && OF(me, row).knows && !HOLDS(me, row) && IS_FREE(me, row) && \
    !IS_DRAINED(row) && !IS_LEAVING(me) && HAS_ANSWERS(me, row) && \
    (IS_SHARD(row) -> PARENTS_ARE_DRAINED(me, row) && HAS_A_UNIT_TO_TAKE(me) && HAS_TOO_LITTLE(me) \
                    : !IS_NEEDED_ELSEWHERE(me)))

/* R4: deadline. In the code: poller.core.leases.holding:Held.may_begin
   R7: nothing begins once a write that gives the lease away was sent. */
#define MAY_INVOKE(me, row) (IS_SHARD(row) && HOLDS(me, row) && !OF(me, row).giving && HAS_A_UNIT(me) && \
    !OF(me, row).running && OF(me, row).done < RECORDS && IS_TIME_TO_INVOKE(me, row))

/* R5: checkpoint. In the code: poller.core.leases.holding:Held.renewal */
#ifndef WITHOUT_R5
#define MAY_STORE(me, row) HOLDS(me, row)
#else
#define MAY_STORE(me, row) (HOLDS(me, row) || OF(me, row).done > table[row].checkpoint)
#endif
#define MAY_KEEP(me, row) (IS_IDLE(me, row) && MAY_STORE(me, row) && !OF(me, row).giving && !IS_DRAINED(row) && \
    !HAS_TRIED(me, row) && IS_TIME_TO_KEEP(me, row))

/* R7: hand-over. In the code: poller.core.leases.holding:Held.give_away */
#ifndef R7_GIVES_EARLY
#define HAS_NOTHING_IN_HAND(me, row) (!OF(me, row).running && !USES_THE_UNIT(me, row))
#else
#define HAS_NOTHING_IN_HAND(me, row) true
#endif
#define MAY_GIVE(me, row) (IS_IDLE(me, row) && OF(me, row).knows && HOLDS(me, row) && !IS_DRAINED(row) && \
    HAS_NOTHING_IN_HAND(me, row) && !HAS_TRIED(me, row) && IS_TIME_TO_GIVE(me, row))

/* R8: request. A worker that has too little asks one that has too much for shards, without naming them. The other
   worker chooses which shard it gives away, if it still has too much. A unit is asked for in the same way (R10).
   In the code: poller.core.leases.placement:Placement.to_request, poller.core.leases.placement:Placement.to_grant
   A free configuration gives leases away at any time, so that it covers every reason. */
#ifndef PUNCTUAL
#define IS_LEAVING(me) false
#define IS_TIME_TO_SCAN(me) true
#define HAS_TOO_LITTLE(me) true
#define IS_TIME_TO_INVOKE(me, row) true
#define IS_TIME_TO_KEEP(me, row) true
#define IS_TIME_TO_GIVE(me, row) true
#else
#define IS_LEAVING(me) leaving[me]
#define HAS(worker, row) ((HOLDS(worker, row) || OF(worker, row).write == TAKE) && !IS_DRAINED(row))
#define COUNT(worker) (HAS(worker, 0) + (SHARDS == 2 && HAS(worker, SHARDS - 1)))
#define KEEPS(worker, row) (HAS(worker, row) && !OF(worker, row).promised)
#define KEPT(worker) (KEEPS(worker, 0) + (SHARDS == 2 && KEEPS(worker, SHARDS - 1)))
#define SEES(me, row) sees[(me) * ROWS + (row)]
#define HAS_BY_SIGHT(me, worker, row) (SEES(me, row) == (worker) && !IS_DRAINED(row))
#define COUNT_BY_SIGHT(me, worker) (HAS_BY_SIGHT(me, worker, 0) + (SHARDS == 2 && HAS_BY_SIGHT(me, worker, SHARDS - 1)))
#define IS_TIME_TO_SCAN(me) (scan_in[me] == 0)
#define HAS_TOO_LITTLE(me) (COUNT(me) < SHARE)
#ifndef R8_GIVES_WITHOUT_NEED
#define IS_TOO_MUCH(count) ((count) > SHARE)
#else
#define IS_TOO_MUCH(count) ((count) > 0)
#endif
#ifndef ENDLESS
#define IS_TIME_TO_INVOKE(me, row) (!invoked[(me) * ROWS + (row)])
#else
#define IS_TIME_TO_INVOKE(me, row) false
#endif
#define IS_TIME_TO_KEEP(me, row) (OF(me, row).left < SAFE || OF(me, row).done > table[row].checkpoint)
#define IS_TIME_TO_GIVE(me, row) (OF(me, row).giving || OF(me, row).promised || IS_LEAVING(me) || LACKS_A_UNIT(me, row))
#if defined(WITHOUT_R8)
#define NEEDS_MORE(me) false
#elif defined(R8_GIVES_WITHOUT_NEED)
#define NEEDS_MORE(me) true
#else
#define NEEDS_MORE(me) HAS_TOO_LITTLE(me)
#endif
#define MAY_ASK(me, row) (IS_SHARD(row) && !HOLDS(me, row) && !IS_DRAINED(row) && !IS_LEAVING(me) && !has_asked[me] && \
    SEES(me, row) < WORKERS && SEES(me, row) != me && IS_TOO_MUCH(COUNT_BY_SIGHT(me, SEES(me, row))) && \
    NEEDS_MORE(me) && HAS_A_UNIT_TO_TAKE(me))
#define IS_ASKED_IN_VAIN(me) (is_asked[me] && (IS_LEAVING(me) || !IS_TOO_MUCH(KEPT(me))))
#define MAY_GRANT(me, row) (IS_SHARD(row) && is_asked[me] && !IS_ASKED_IN_VAIN(me) && HOLDS(me, row) && \
    !OF(me, row).promised && !OF(me, row).giving && !IS_DRAINED(row))
#endif

/* R9: parents. In the code: poller.core.streams.lineage:Lineage.startable, poller.core.leases.parents:is_readable;
   the parents' rows are read by poller.engine.leases.taking:Taking.run_once before it takes a lease */
#if !defined(CHILD) || defined(WITHOUT_R9)
#define PARENTS_ARE_DRAINED(me, row) true
#elif defined(R9_TRUSTS_A_SCAN)
#define PARENTS_ARE_DRAINED(me, row) ((row) == 0 || SEES(me, 0) == NOT_SEEN || IS_DRAINED(0))
#else
#define PARENTS_ARE_DRAINED(me, row) ((row) == 0 || !table[0].exists || IS_DRAINED(0))
#endif
#ifndef R9_CREATES_THE_CHILD_FIRST
#define MAY_CREATE(row) (!table[row].exists && ((row) == 0 || table[0].exists))
#else
#define MAY_CREATE(row) (!table[row].exists)
#endif

/* R10: units. The shards are distributed over the workers that have a unit. The unit goes to a worker at which an
   invocation waits that no other worker can run.
   In the code: poller.core.leases.units:Units.receivers, poller.core.leases.units:Units.without_unit,
   poller.core.leases.units:Units.may_move */
#if UNITS == 0
#define IS_NEEDED_ELSEWHERE(me) false
#define MAY_ASK_FOR_UNIT(me) false
#define IS_ASKED_FOR_UNIT(me) false
#define HAS_A_UNIT(me) true
#define HAS_A_UNIT_TO_TAKE(me) true
#define LACKS_A_UNIT(me, row) false
#define USES_THE_UNIT(me, row) false
#else
#define HAS_A_UNIT(me) (HOLDS(me, UNIT) && !OF(me, UNIT).giving)
#ifndef PUNCTUAL
#define IS_NEEDED_ELSEWHERE(me) false
#else
#define NEEDS_UNIT(worker) (needs_unit[worker] && IS_COUNTED(worker))
#define IS_NEEDED_ELSEWHERE(me) (!needs_unit[me] && (NEEDS_UNIT(0) || NEEDS_UNIT(1) || NEEDS_UNIT(WORKERS - 1)))
#endif
#ifndef R10_IGNORES_THE_NEED
#define MAY_ASK_FOR_UNIT(me) (needs_unit[me] && !HAS_A_UNIT(me) && !IS_LEAVING(me) && !has_asked[me] && \
    SEES(me, UNIT) < WORKERS && SEES(me, UNIT) != me)
#else
#define MAY_ASK_FOR_UNIT(me) false
#endif
#define IS_ASKED_FOR_UNIT(me) is_asked_for_unit[me]
#ifndef R10_GIVES_A_USED_UNIT
#define USES_THE_UNIT(me, row) ((row) == UNIT && (OF(me, 0).running || OF(me, SHARDS - 1).running))
#else
#define USES_THE_UNIT(me, row) false
#endif
#ifndef WITHOUT_R10
#define HAS_A_UNIT_TO_TAKE(me) (HAS_A_UNIT(me) && !OF(me, UNIT).promised)
#define LACKS_A_UNIT(me, row) (IS_SHARD(row) && !HAS_A_UNIT(me))
#else
#define HAS_A_UNIT_TO_TAKE(me) true
#define LACKS_A_UNIT(me, row) false
#endif
#endif
#if UNITS == 0 || defined(R10_COUNTS_ALL_WORKERS)
#define SHARE ((SHARDS + LIVING - 1) / LIVING)
#define LIVING (IS_COUNTED(0) + IS_COUNTED(1) + (WORKERS == 3 && IS_COUNTED(WORKERS - 1)))
#else
#define SHARE SHARDS                   /* one worker has the unit */
#endif

/* ---- When time passes ---- */

#ifndef PUNCTUAL
#define EVERYBODY_WAITS true
#else
#define HAS_A_STEP(me, row) (!IS_IDLE(me, row) || MAY_CREATE(row) || MAY_READ(me, row) || MAY_TAKE(me, row) || \
    MAY_INVOKE(me, row) || OF(me, row).running || MAY_KEEP(me, row) || MAY_GIVE(me, row) || MAY_ASK(me, row) || \
    MAY_GRANT(me, row))
#define WAITS(me) (!RUNS(me) || !(HAS_LEFT(me) || IS_ASKED_IN_VAIN(me) || MAY_ASK_FOR_UNIT(me) || \
    IS_ASKED_FOR_UNIT(me) || HAS_A_STEP(me, 0) || \
    (ROWS > 1 && HAS_A_STEP(me, ROWS / 2)) || (ROWS > 2 && HAS_A_STEP(me, ROWS - 1))))
#define EVERYBODY_WAITS (WAITS(0) && WAITS(1) && WAITS(WORKERS - 1) && (RUNS(0) || RUNS(1) || RUNS(WORKERS - 1)))
#define HAS_LEFT(me) (leaving[me] && HAS_NOTHING(me, 0) && HAS_NOTHING(me, ROWS / 2) && HAS_NOTHING(me, ROWS - 1))
#define HAS_NOTHING(me, row) (IS_IDLE(me, row) && (!HOLDS(me, row) || IS_DRAINED(row)))
#endif
#ifndef R8_COUNTS_THE_DEAD
#define A_TICK_OF_SILENCE 1
#else
#define A_TICK_OF_SILENCE 0
#endif

/* ---- The steps of a worker ---- */

inline lose(worker, row) {
    OF(worker, row).left = 0;
    OF(worker, row).promised = false;
    OF(worker, row).giving = false;
    OF(worker, row).running = false;                   /* poller.engine.leases.deadlines:end_at_deadlines cancels it */
#ifndef WITHOUT_R5
    OF(worker, row).done = 0;
#endif
#if UNITS > 0 && !defined(R10_RUNS_ON)
    for (m : 0 .. SHARDS - 1) {        /* R10: and all that use the unit, if this is the unit */
        OF(worker, m).running = (OF(worker, m).running && (row) != UNIT)
    }
    m = 0;
#endif
    skip
}

inline forget_write(worker, row) {
    OF(worker, row).write = NOTHING;
    OF(worker, row).answer = TRAVELS;
    OF(worker, row).valid = false;
    OF(worker, row).allows = 0;
    OF(worker, row).stores = 0
}

inline forget(worker, row) {
    forget_write(worker, row);
    lose(worker, row);
    OF(worker, row).knows = false;
#ifdef PUNCTUAL
    SEES(worker, row) = NOT_SEEN;
    scan_in[worker] = 0;
    has_asked[worker] = false;
#endif
    OF(worker, row).unmoved = 0
}

inline send(me, row, write_, checkpoint_) {
    OF(me, row).write = write_;
    OF(me, row).stores = checkpoint_;
    OF(me, row).valid = OF(me, row).knows;
    OF(me, row).allows = SAFE
}

inline read(me, row) {
    OF(me, row).knows = true;
#ifdef PUNCTUAL
    SEES(me, row) = table[row].owner;
#endif
    if
    :: HOLDS(me, row) && table[row].owner != me -> lose(me, row)
    :: else
    fi
}

/* R3: token. In the code: poller.core.leases.holding:Held.take
   R4: the deadline counts from the sending, and a worker that lost the lease meanwhile does not hold it again.
   In the code: poller.core.leases.holding:Held.accepted */
#ifndef R4_FROM_THE_ANSWER
#define ALLOWED(me, row) OF(me, row).allows
#else
#define ALLOWED(me, row) SAFE
#endif
inline take_in(me, row) {
    if
    :: OF(me, row).write == GIVE -> lose(me, row)
    :: OF(me, row).write == TAKE && ALLOWED(me, row) > 0 ->
        OF(me, row).left = ALLOWED(me, row);
        OF(me, row).done = OF(me, row).stores
    :: OF(me, row).write == KEEP && HOLDS(me, row) -> OF(me, row).left = ALLOWED(me, row)
    :: else
    fi
}

/* R6: lost answer. The deadline stays as it was. R7: if the worker has sent a GIVE, it still delivers nothing.
   In the code: poller.core.leases.holding:Held.found, poller.engine.leases.table:Table.update (HAS_ANSWERS) */
inline find_out(me, row) {
#ifdef WITHOUT_R6
    take_in(me, row);                  /* it believes that the write was accepted */
#else
    read(me, row);
#ifdef R6_MOVES_THE_DEADLINE
    if
    :: OF(me, row).write != GIVE && table[row].owner == me -> take_in(me, row)
    :: else
    fi;
#endif
#ifdef R7_DELIVERS_ON
    OF(me, row).giving = false;
#endif
#endif
    skip
}

inline invoke(me, row) {
    assert(table[row].taker == me);                    /* Promise: it has the newest token. */
    for (n : 0 .. WORKERS - 1) {
        assert(!OF(n, row).running);                   /* Promise: nobody else delivers this shard. */
#if UNITS > 0
        for (m : 0 .. SHARDS - 1) {
            assert(n == me || !OF(n, m).running)       /* Promise: nobody else uses the unit. */
        }
        m = 0;
#endif
    }
    n = 0;
#ifdef CHILD
    assert((row) == 0 || IS_DRAINED(0));               /* Promise: parents come before children. */
#endif
#ifdef PUNCTUAL
    invoked[me * ROWS + row] = true;
#endif
    OF(me, row).running = true
}

inline wake_up(me, row) {
    if
    :: HOLDS(me, row) -> invoke(me, row)
    :: else -> assert(table[row].taker == me || OF(me, row).old)     /* Promise: a later owner has a larger token. */
    fi;
    OF(me, row).checked = false;
    OF(me, row).old = false
}

/* ---- R1: compare and set. In the code: poller.ports:LeaseStore.update ---- */

#ifndef WITHOUT_R1
#define MATCHES(valid) (valid)
#else
#define MATCHES(valid) true
#endif

inline forget_late(worker, row) {
    OF(worker, row).late = NOTHING;
    OF(worker, row).late_owner = 0;
    OF(worker, row).late_stores = 0
}

inline accept(write_, owner_, checkpoint_, row) {
    kind = write_; sender = owner_; content = checkpoint_;
    assert(kind == TAKE || table[row].taker == sender);     /* Promise: only the holder stores a checkpoint. */
    assert(content >= table[row].checkpoint);               /* Promise: a checkpoint never moves back. */
    for (n : 0 .. WORKERS - 1) {
        OF(n, row).knows = false;
        OF(n, row).valid = false;
#ifndef R2_COUNTS_ON
        OF(n, row).unmoved = 0;
#endif
#ifndef WITHOUT_R3
        OF(n, row).old = (OF(n, row).checked && (OF(n, row).old || kind == TAKE));
#endif
#ifndef WITHOUT_R1
        forget_late(n, row);           /* the table would reject it, and nobody would notice */
#endif
    }
    table[row].checkpoint = content;
    table[row].owner = (kind == GIVE -> NOBODY : sender);
    table[row].taker = (kind == TAKE -> sender : table[row].taker);
#ifdef CHILD
    for (n : 0 .. WORKERS - 1) {       /* nobody remembers a drained parent: otherwise there are too many states */
        if
        :: IS_DRAINED(row) -> forget(n, row)
        :: else
        fi
    }
#endif
    n = 0; kind = NOTHING; sender = 0; content = 0
}

inline travel_on(worker, row, owner_) {
    if
    :: MATCHES(OF(worker, row).valid) ->
        OF(worker, row).late = OF(worker, row).write;
        OF(worker, row).late_owner = owner_;
        OF(worker, row).late_stores = OF(worker, row).stores
    :: else                            /* the table would reject it, and nobody would notice */
    fi
}

/* The table has the owner of the run that ended. A write that it sent may still arrive. */
inline end_of_the_run(me, row) {
    if
    :: OF(me, row).write != NOTHING && OF(me, row).answer == TRAVELS && OF(me, row).late == NOTHING ->
        travel_on(me, row, GONE)
    :: else
    fi;
    OF(me, row).late_owner = (OF(me, row).late != NOTHING -> GONE : 0);
    table[row].owner = (table[row].owner == me -> GONE : table[row].owner);
    table[row].taker = (table[row].taker == me -> GONE : table[row].taker);
    forget(me, row);
    OF(me, row).done = 0;
    OF(me, row).checked = false;
    OF(me, row).old = false;
#ifdef PUNCTUAL
    for (n : 0 .. WORKERS - 1) {
        SEES(n, row) = (SEES(n, row) == me -> GONE : SEES(n, row));
    }
    n = 0;
    is_asked[me] = false;
#if UNITS > 0
    is_asked_for_unit[me] = false;
    needs_unit[me] = false;
#endif
#endif
    skip
}

/* ---- The processes ---- */

proctype Worker(byte me; byte row) {
    do
    :: d_step { RUNS(me) && MAY_CREATE(row) -> table[row].exists = true }
    :: d_step { RUNS(me) && MAY_READ(me, row) -> read(me, row) }
    :: d_step { RUNS(me) && MAY_TAKE(me, row) -> send(me, row, TAKE, table[row].checkpoint) }
    :: d_step { RUNS(me) && MAY_KEEP(me, row) -> send(me, row, KEEP, OF(me, row).done) }
    :: d_step { RUNS(me) && MAY_GIVE(me, row) -> send(me, row, GIVE, OF(me, row).done); OF(me, row).giving = true }
    :: d_step { RUNS(me) && OF(me, row).answer == ACCEPTED ->
        OF(me, row).knows = OF(me, row).valid;
#ifdef PUNCTUAL
        SEES(me, row) = (OF(me, row).write == GIVE -> NOBODY : me);
#endif
        take_in(me, row);
#if defined(PUNCTUAL) && UNITS > 0
        needs_unit[me] = (needs_unit[me] && !HAS_A_UNIT(me));      /* the invocation that waited runs now */
#endif
        forget_write(me, row)
       }
    :: d_step { RUNS(me) && OF(me, row).answer == UNCLEAR ->
        find_out(me, row);
#ifdef MUTE
        tried[me * ROWS + row] = mute && me == 0;
#endif
        forget_write(me, row)
       }
    :: d_step { RUNS(me) && MAY_INVOKE(me, row) -> invoke(me, row) }
    :: d_step { RUNS(me) && OF(me, row).running -> OF(me, row).running = false; OF(me, row).done++ }
#ifndef PUNCTUAL
       /* A pause that no clock shows: the process is stopped between the check of the deadline and the sending. */
    :: d_step { RUNS(me) && MAY_INVOKE(me, row) -> stopped[me] = true; OF(me, row).checked = true }
    :: d_step { OF(me, row).checked -> stopped[me] = false; wake_up(me, row) }
#else
    :: d_step { RUNS(me) && MAY_ASK(me, row) -> is_asked[SEES(me, row)] = true; has_asked[me] = true }
    :: d_step { RUNS(me) && MAY_GRANT(me, row) -> OF(me, row).promised = true; is_asked[me] = false }
    :: d_step { (row) == 0 && RUNS(me) && IS_ASKED_IN_VAIN(me) -> is_asked[me] = false }
#if UNITS > 0
    :: d_step { (row) == UNIT && RUNS(me) && MAY_ASK_FOR_UNIT(me) ->
        is_asked_for_unit[SEES(me, row)] = true;
        has_asked[me] = true
       }
    :: d_step { (row) == UNIT && RUNS(me) && IS_ASKED_FOR_UNIT(me) ->
        OF(me, row).promised = HOLDS(me, row);
        is_asked_for_unit[me] = false
       }
#endif
#endif
    od
}

/* The network carries the writes of one worker for one row. */
proctype Network(byte me; byte row) {
    do
    :: d_step { OF(me, row).write != NOTHING && OF(me, row).answer == TRAVELS && MATCHES(OF(me, row).valid) ->
        accept(OF(me, row).write, me, OF(me, row).stores, row);
        OF(me, row).valid = !IS_MUTE(me);
        OF(me, row).answer = (IS_MUTE(me) -> UNCLEAR : ACCEPTED)
       }
    :: d_step { OF(me, row).write != NOTHING && OF(me, row).answer == TRAVELS && !MATCHES(OF(me, row).valid) ->
        OF(me, row).answer = UNCLEAR   /* the write is rejected */
       }
    :: d_step { OF(me, row).write != NOTHING && OF(me, row).answer != UNCLEAR && A_FAULT_MAY_HAPPEN ->
        OF(me, row).answer = UNCLEAR;  /* the write or its answer is lost */
        OF(me, row).valid = false;
        COUNT_THE_FAULT
       }
    :: d_step { OF(me, row).write != NOTHING && OF(me, row).answer == TRAVELS && OF(me, row).late == NOTHING &&
                A_FAULT_MAY_HAPPEN ->
        travel_on(me, row, me);        /* the worker gives up waiting, but the write may still arrive */
        OF(me, row).answer = UNCLEAR;
        OF(me, row).valid = false;
        COUNT_THE_FAULT
       }
    :: d_step { OF(me, row).late != NOTHING ->
        accept(OF(me, row).late, OF(me, row).late_owner, OF(me, row).late_stores, row);
        forget_late(me, row)
       }
    :: d_step { OF(me, row).late != NOTHING ->
        forget_late(me, row)           /* it never arrives */
       }
    od
}

proctype Fate(byte me) {
    byte k;
    do
    :: d_step { !dead[me] && A_FAULT_MAY_HAPPEN ->
        for (k : 0 .. ROWS - 1) {
            end_of_the_run(me, k)
        }
        k = 0;
        stopped[me] = false;
        COUNT_THE_FAULT;
#ifdef PUNCTUAL
        leaving[me] = false;
        dead[me] = true
#endif
       }
#ifdef PUNCTUAL
    :: d_step { dead[me] ->            /* the worker starts again, as another owner; or it never does */
        dead[me] = false;
        counted[me] = 3                /* it writes its own row before it takes leases */
       }
    :: d_step { RUNS(me) && A_FAULT_MAY_HAPPEN -> stopped[me] = true; COUNT_THE_FAULT }
    :: d_step { stopped[me] -> stopped[me] = false; counted[me] = 3 }
#ifdef MUTE
    :: d_step { RUNS(me) && A_FAULT_MAY_HAPPEN && me == 0 && !mute -> mute = true; COUNT_THE_FAULT }
#endif
    :: d_step { RUNS(me) && A_FAULT_MAY_HAPPEN && !leaving[me] -> leaving[me] = true; COUNT_THE_FAULT }
    :: d_step { RUNS(me) && leaving[me] && HAS_LEFT(me) ->
        for (k : 0 .. ROWS - 1) {
            end_of_the_run(me, k)
        }
        k = 0;
        leaving[me] = false;
        counted[me] = 0;               /* it deletes its own row */
        dead[me] = true
       }
#if UNITS > 0
    :: d_step { RUNS(me) && A_FAULT_MAY_HAPPEN && !leaving[me] && !HAS_A_UNIT(me) && !needs_unit[me] ->
        needs_unit[me] = true;         /* for example, a client calls the function at this worker */
        COUNT_THE_FAULT
       }
#endif
#endif
    od
}

proctype Clock() {
    byte w, k;
    do
    :: d_step { EVERYBODY_WAITS ->
        for (w : 0 .. WORKERS - 1) {
            for (k : 0 .. ROWS - 1) {
                OF(w, k).allows = (OF(w, k).allows > RATE(w) -> OF(w, k).allows - RATE(w) : 0);
#ifndef WITHOUT_R4
                if
                :: HOLDS(w, k) && OF(w, k).left <= RATE(w) -> lose(w, k)
                :: OF(w, k).left > RATE(w) -> OF(w, k).left = OF(w, k).left - RATE(w)
                :: else
                fi;
#endif
                if
                :: OF(w, k).knows && table[k].owner != NOBODY && table[k].owner != w && !IS_DRAINED(k) ->
                    OF(w, k).unmoved = (OF(w, k).unmoved + RATE(w) < LEASE_DURATION -> OF(w, k).unmoved + RATE(w)
                                                                                     : LEASE_DURATION)
                :: else
                fi;
#ifdef PUNCTUAL
                invoked[w * ROWS + k] = false;
#endif
#ifdef MUTE
                tried[w * ROWS + k] = false;
#endif
            }
#ifdef PUNCTUAL
            has_asked[w] = false;
            scan_in[w] = (scan_in[w] == 0 -> 2 : scan_in[w] - 1);
            counted[w] = (RUNS(w) && !IS_MUTE(w) -> 3 : (counted[w] > 0 -> counted[w] - A_TICK_OF_SILENCE : 0));
#endif
        }
        w = 0; k = 0
       }
    od
}

init {
    byte w, k;
    atomic {
        for (k : 0 .. ROWS - 1) {
#ifndef CHILD
            table[k].exists = true;
#endif
#ifdef ONE_HAS_ALL                     /* worker 0 holds all leases when the others begin */
            table[k].owner = 0;
            table[k].taker = 0;
            OF(0, k).knows = true;
            OF(0, k).left = SAFE;
#endif
            for (w : 0 .. WORKERS - 1) {
                run Network(w, k);
                run Worker(w, k)
            }
        }
        for (w : 0 .. WORKERS - 1) {
#ifdef PUNCTUAL
            if                         /* the workers scan at the same time, or at different times */
            :: scan_in[w] = 0
            :: scan_in[w] = 1
            fi;
#endif
            run Fate(w)
        }
        run Clock();
        w = 0; k = 0
    }
}

/* In the end each shard has a reader, and no lease moves any more. */
#define READS(worker, row) (HOLDS(worker, row) && HAS_A_UNIT(worker))
#define IS_READ(row) (READS(0, row) || READS(1, row) || READS(WORKERS - 1, row))
/* R8: in the end no worker has two shards while another one has none. */
#define HAS_NONE(worker) (UNITS == 0 && RUNS(worker) && COUNT(worker) == 0)

/* R10: in the end no invocation waits at a worker for the unit. */
#if UNITS == 0 || !defined(PUNCTUAL)
#define WAITS_FOR_UNIT(worker) false
#else
#define WAITS_FOR_UNIT(worker) (RUNS(worker) && needs_unit[worker])
#endif

#if defined(ENDLESS)
ltl promise { <> [] (IS_READ(0) && IS_READ(SHARDS - 1) && !HAS_NONE(0) && !HAS_NONE(1) && \
    !WAITS_FOR_UNIT(0) && !WAITS_FOR_UNIT(1) && !WAITS_FOR_UNIT(WORKERS - 1)) }
#elif defined(PUNCTUAL)
/* In the end each record of each shard is done. */
ltl promise { <> (IS_DRAINED(0) && IS_DRAINED(SHARDS - 1)) }
#endif
