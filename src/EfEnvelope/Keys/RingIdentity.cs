namespace EfEnvelope.Keys;

/// <summary>The ring's own row: its UUID stands in every KMS encryption context, its salt keeps scope names out of the service's log.</summary>
/// <param name="Id">Random UUID, for ever.</param>
/// <param name="Salt">16 random bytes.</param>
internal sealed record RingIdentity(Guid Id, byte[] Salt);
