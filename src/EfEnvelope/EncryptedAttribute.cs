namespace EfEnvelope;

/// <summary>
/// Encrypts the annotated property's column. The value is sealed on <c>SaveChanges</c> with the data key of its row's scope
/// (global, tenant, subject or row) and opened when it is read; the database only ever holds an envelope.
/// </summary>
/// <remarks>
/// Takes effect in every model that calls <c>UseEnvelopeEncryption()</c> on its <c>ModelBuilder</c>, its conventions or its context options;
/// the fluent form is <c>Property(x => x.Ssn).IsEncrypted()</c>. Without the options extension, reading throws, and writing a value of the application too:
/// it is never stored in the clear. A value that the database makes is (<c>ExecuteUpdate</c> from another column): no converter is asked of it. Keys, foreign keys, indexed, computed, concurrency and discriminator properties are refused while the model is built.
/// </remarks>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Field)]
public sealed class EncryptedAttribute : Attribute
{
    /// <summary>
    /// The column id that is authenticated with every value: 1-255 bytes of UTF-8. Default: the path from the declaring entity, such as
    /// <c>Customer.Ssn</c>. Set it before renaming a class or property, so that existing values still open.
    /// </summary>
    public string? ColumnId { get; set; }

    /// <summary>
    /// Column ids that the column had before: values that were sealed under one of them open too, new ones are sealed under the present id. Each 1-255 bytes of UTF-8, and no other column's. Default: none.
    /// </summary>
    public string[]? FormerColumnIds { get; set; }

    /// <summary>
    /// Pads the plaintext to multiples of this many bytes (1-1048576) so that lengths reveal less. Default 0: no padding.
    /// </summary>
    public int Padding { get; set; }

    /// <summary>
    /// Binds each value to its row's primary key, so that a value copied into another row is refused, in projections too. Default false.
    /// Needs a primary key that the application sets; a store-generated key is refused while the model is built.
    /// </summary>
    public bool RowBound { get; set; }

    /// <summary>
    /// Stores text armour (<c>efe1:</c> and base64, a third longer) in a column that stays of a text type. Default false: a binary column.
    /// Inside JSON documents it is always so.
    /// </summary>
    public bool Armored { get; set; }
}
