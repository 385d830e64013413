"""What does a move of stored positions change, and what does it mean for the records?

    a mapping moves   all its shards are reset; the next start begins at TRIM_HORIZON, at LATEST, or at a time
    a shard moves     its checkpoint is replaced by the new position, which may be earlier or later; the other shards
                      keep their checkpoints

A sequence number belongs to one shard, so a mapping with several shards cannot move to a sequence number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from poller.core.streams.written_positions import NoPosition, given, in_words, when
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    ShardEnd,
    ShardId,
    StartingPosition,
    StateKey,
    TrimHorizon,
)
from poller.stores.lease_by_hand import Hand, Stored
from poller.stores.notation import rank

NAMES_TOLD = 20


class Move(NamedTuple):
    """A move that a person asked for. `shard_id` is None if the whole mapping moves.

    `before` has the stored positions: those of the mapping, or only that of the shard.
    """

    key: StateKey
    before: Stored
    shard_id: ShardId | None
    position: Position

    async def make(self, hand: Hand, *, kcl_table: str | None = None) -> None:
        """Make the move. `kcl_table` is the mapping's table of KCL, or None.

        If that table has no leases, there is nothing to move, and a starting position is stored instead.
        """
        if self.shard_id is not None:
            await hand.move_shard(self.key, self.shard_id, self.position)
            return
        assert isinstance(self.position, StartingPosition)
        if kcl_table is not None and self.before.rows:
            await hand.move_all(self.key, self.position)
        else:
            await hand.start_over(self.key, self.position, kcl_table=kcl_table)

    def sentences(self) -> Iterable[str]:
        """Yield sentences: the new position, its effect on the records, and which open windows are lost."""
        what = self.key.mapping if self.shard_id is None else f"{self.key.mapping}, {self.shard_id}"
        yield f"{what} would continue {in_words(self.position)}."
        yield self._meaning()
        if any(checkpoint.window for checkpoint in self.before.checkpoints.values()):
            yield "Open windows are lost, with the state that the function has returned for them."

    def _meaning(self) -> str:
        if self.shard_id is not None:
            before = self.before.checkpoints.get(self.shard_id)
            return _meaning_in_shard(None if before is None else before.position, self.position)
        match self.position:
            case TrimHorizon():
                return "The function gets every record that the stream still has, also those that it already got."
            case Latest():
                return (
                    "The function gets only the records that are written after the mapping begins to read again: "
                    "all undelivered records before it, including those from now until then, are skipped."
                )
            case AtTimestamp(timestamp):
                return _meaning_of_time(timestamp)
        raise AssertionError(f"no beginning: {self.position}")


def _meaning_of_time(timestamp: float) -> str:
    return (
        f"The function gets every record that arrived at {when(timestamp)} or later, also those that it already got. "
        "Undelivered records that arrived before are skipped."
    )


def _meaning_in_shard(now: Position | None, then: Position) -> str:
    """Return the effect of a shard's move. `now` is None if a person has reset the shard.

    A time and a sequence number cannot be compared. If the move is between these two, the text names both effects.
    """
    if now is None:
        return "The function gets the records from there on; this shard does not begin where the others begin."
    if isinstance(now, ShardEnd):
        return "The function gets the records from there on again; the child shards wait for the end of this shard."
    kinds = {type(now), type(then)}
    if AtTimestamp in kinds and kinds & {AtSequence, AfterSequence}:
        return "The function gets the records from there on, also those that it already got; earlier ones are skipped."
    if rank(now) == rank(then):
        return "The position stays the same."
    if rank(now) > rank(then):
        return "The function gets the records in between again, as far as the stream still has them."
    return "The records in between are skipped: the function never gets them."


def planned(key: StateKey, stored: Stored, text: str, *, shard: str | None, is_after: bool, now: float) -> Move:
    """Return the move to the position that `text` names.

    `shard` is the shard to move, or None for the whole mapping. A sequence number without `shard` moves the only
    stored shard. Raise NoPosition if the text is not a position, or cannot be used for this shard or mapping.
    """
    if shard is not None and shard not in stored.rows:
        raise NoPosition(f"{key.mapping} has no stored shard {shard}; {_stored(stored.rows)}")
    position = given(text, is_of_shard=shard is not None, is_after=is_after, now=now)
    match position:
        case Latest() if shard is not None:
            raise NoPosition("LATEST applies to a whole mapping, not to one shard")
        case AtSequence() | AfterSequence() if shard is None:
            if len(stored.rows) != 1:
                raise NoPosition(
                    f"a sequence number belongs to one shard, so name the shard, too; {_stored(stored.rows)}"
                )
            (shard,) = stored.rows
        case _:
            pass
    if shard is None:
        return Move(key, stored, None, position)
    shard_id = ShardId(shard)
    return Move(key, stored._replace(rows={shard_id: stored.rows[shard_id]}), shard_id, position)


def _stored(shard_ids: Iterable[ShardId]) -> str:
    names = sorted(shard_ids)
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return f"stored are {', '.join(names[:NAMES_TOLD])}{more}" if names else "nothing is stored for it"
