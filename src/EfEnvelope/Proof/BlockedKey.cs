namespace EfEnvelope;

/// <summary>
/// A key whose cells a job left where they are, all together, because a key cannot be used: the one that they name, or the one that follows it, is refused by the key service, or its row of the ring was tampered with. The cells
/// themselves are no quarantine; the next run takes them up. Immutable.
/// </summary>
/// <param name="KeyId">The key that the cells name; of row keys the kek that they are under.</param>
/// <param name="Scope">Its scope; <c>row:*@</c> and the scope above them for row keys.</param>
/// <param name="Reason">The type of the error; never a value.</param>
/// <param name="Cells">How many cells the final census counts under it.</param>
public sealed record BlockedKey(Guid KeyId, string Scope, string Reason, long Cells);
