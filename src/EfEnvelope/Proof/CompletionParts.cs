namespace EfEnvelope;

/// <summary>A key that rows had to leave, or the row keys under one scope together. Immutable.</summary>
/// <param name="Id">The key; null for row keys, which are counted together.</param>
/// <param name="Scope">Its scope; <c>row:*@</c> and the scope above them for row keys.</param>
/// <param name="State">Its state when it was treated.</param>
/// <param name="Why">Why rows may not stay under it.</param>
/// <param name="Reason">What was told when its state changed; null where nothing was, and for row keys.</param>
/// <param name="Keys">How many keys: 1 but for row keys. In a job's report those that cells named, as its census tells; in a census report all that the ring holds.</param>
/// <param name="CreatedAt">UTC; of row keys the first.</param>
/// <param name="RetiredAt">UTC; when its state changed last, of row keys the last one. Null for row keys that are retired with the key that wraps them.</param>
public sealed record TreatedKey(Guid? Id, string Scope, KeyState State, string Why, string? Reason, long Keys, DateTimeOffset CreatedAt, DateTimeOffset? RetiredAt);

/// <summary>The moment from which no new cell can name a stale key. Immutable.</summary>
/// <param name="SealingStoppedAt">UTC; when the last stale key's state changed. Null when no key is retired.</param>
/// <param name="SealingLeaseMilliseconds">How much longer a process may seal that has not heard of it.</param>
/// <param name="WaitedMilliseconds">How long this run waited for the lease's end and for older transactions.</param>
/// <param name="WaitedFor">What was waited for.</param>
/// <param name="IsReached">Whether all of it was over before the census began.</param>
/// <param name="NotReachedBecause">Why not; null when it was reached.</param>
public sealed record CompletionCutOff(DateTimeOffset? SealingStoppedAt, long SealingLeaseMilliseconds, long WaitedMilliseconds, string WaitedFor, bool IsReached, string? NotReachedBecause);

/// <summary>Cells of one column that name one key, or row keys of one scope and state. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key; null for row keys, which are counted together, for ids beyond the first 1,000 of the column that the ring does not hold, and for cells that are not envelopes.</param>
/// <param name="Scope">The key's scope, <c>row:*@</c> and the scope above them for row keys; null for keys that the ring does not hold and for cells that are not envelopes.</param>
/// <param name="State">The key's state; null for a key that the ring does not hold.</param>
/// <param name="Keys">How many keys: 1 but for what is counted together, 0 for cells that are not envelopes.</param>
/// <param name="Cells">How many cells.</param>
public sealed record CountedCells(string Table, string Column, Guid? KeyId, string? Scope, KeyState? State, long Keys, long Cells);

/// <summary>An encrypted column, and how many random cells of it opened. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="Cells">Cells that the census counted in it.</param>
/// <param name="Sampled">Random rows whose cell was read.</param>
/// <param name="Opened">Of these, cells that opened whole and authentic; every encrypted member of a JSON document.</param>
/// <param name="Erased">Of these, cells of erased scopes: their keys are destroyed, and they are meant not to open.</param>
public sealed record SampledColumn(string Table, string Column, long Cells, int Sampled, int Opened, int Erased);

/// <summary>A sampled cell that did not open. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key that it names; null when it is no envelope.</param>
/// <param name="Error">The name of the exception's type.</param>
public sealed record SampleFailure(string Table, string Column, Guid? KeyId, string Error);
