namespace EfEnvelope;

/// <summary>A database that the ring's table of columns lists. Immutable.</summary>
/// <param name="Name">PostgreSQL: the cluster's system identifier and the database's name, with the schema where that is not <c>public</c> (host and port where the role may not ask for the identifier). SQLite: the full path. <c>(the ring's database)</c> where the ring itself stands.</param>
/// <param name="Columns">Encrypted columns that are registered for it.</param>
/// <param name="IsOwn">Whether the context is connected to it.</param>
public sealed record RegisteredDatabase(string Name, int Columns, bool IsOwn);
