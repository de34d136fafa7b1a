namespace EfEnvelope;

/// <summary>What a ring key is for; part of its id's derivation, so a key of one purpose never passes for another (FORMAT.md, Keys).</summary>
public enum KeyPurpose
{
    /// <summary>Seals column values.</summary>
    Field = 1,

    /// <summary>Wraps row keys.</summary>
    Kek = 2,

    /// <summary>Root of blind-index keys.</summary>
    Index = 3,

    /// <summary>Authenticates the ring's metadata and reports.</summary>
    Mac = 4,
}
