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
