using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Keys;
using Microsoft.Data.Sqlite;

namespace EfEnvelope.Tests.Functional;

/// <summary>Somebody who writes to the database and has copied a data key: seals what the key allows, and plants it by raw SQL.</summary>
internal sealed class Forger(TestDatabase database)
{
    /// <summary>The scope's newest data key, out of the memory of a process that opened it.</summary>
    public async Task<DataKey> StealAsync(string scope)
    {
        await using var process = new RingProcess(database, database.KeyService);
        using var pins = new KeyPins();
        var entry = (await process.Store.FindByScopeAsync([scope], KeyPurpose.Field, default))[0];
        await process.Ring.LoadForOpeningAsync([entry.Id], process.Store, process.Transient, pins, default);
        Assert.True(pins.TryGet(entry.Id, out var key));
        var material = new byte[32];
        key.Key.CopyMaterialTo(material);
        return DataKey.Import(KeyPurpose.Field, material);
    }

    public static byte[] Seal<T>(DataKey key, string columnId, string scope, T value, string? rowId = null) => EnvelopeCodec.Seal(key, EnvelopeBinding.Create(columnId, scope, rowId), value);

    public Task PlantAsync(string table, string column, byte[] cell, string where) => PlantAsync(table, column, Literal(cell), where);

    /// <param name="table">The table.</param>
    /// <param name="column">The column.</param>
    /// <param name="literal">SQL.</param>
    /// <param name="where">SQL that names one row.</param>
    public async Task PlantAsync(string table, string column, string literal, string where)
        => Assert.Equal(1, await database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = {literal} WHERE {where}"));

    public string Literal(byte[] bytes)
    {
        using var connection = database.Connect();
        return connection is SqliteConnection ? $"x'{Convert.ToHexString(bytes)}'" : $"'\\x{Convert.ToHexString(bytes)}'::bytea";
    }
}
