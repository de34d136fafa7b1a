using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using Microsoft.Data.Sqlite;

namespace EfEnvelope.Tests.Census;

/// <summary>What a census, and a database's error, are taken to say.</summary>
public sealed class MayNameTests
{
    private static readonly Guid Kek = Guid.NewGuid();

    private static readonly KeyRingEntry RowKey = new()
    {
        Id = Guid.NewGuid(), Scope = "row:x@tenant:1", Purpose = KeyPurpose.Field, Version = 1, State = KeyState.Compromised, KekId = Kek, Wrapped = [1], CreatedAt = DateTimeOffset.UnixEpoch, Revision = 1,
    };

    [Theory]
    [InlineData(KeyState.Active, true, true)]
    [InlineData(KeyState.Active, false, false)]
    [InlineData(KeyState.Deactivated, true, true)]
    [InlineData(KeyState.PendingDestruction, false, true)]
    [InlineData(KeyState.Destroyed, false, false)]
    public void A_row_key_may_be_among_those_that_were_too_many_to_count_one_by_one_in_whatever_state_they_were(KeyState state, bool isTooMany, bool mayName)
    {
        var together = new CensusEntry("T", "C", null, "row:*@tenant:1", state, 5)
        {
            KekId = Kek, KekState = KeyState.Active, RowKeys = new RowKeySum(Kek, "tenant:1", state, 5, DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch), IsTooMany = isTooMany,
        };
        Assert.Equal(mayName, new EnvelopeCensus(DateTimeOffset.UnixEpoch, [together]).MayNameSince(RowKey));
    }

    [Fact]
    public void A_SQLite_library_without_JSON_is_not_taken_for_a_database_without_tables()
    {
        var error = new SqliteException("SQLite Error 1: 'no such table: json_each'.", 1);
        Assert.Contains("built without JSON", EfEnvelope.Census.TableErrors.Explain(error)!.Message, StringComparison.Ordinal);
        Assert.Contains("lacks a table", EfEnvelope.Census.TableErrors.Explain(new SqliteException("SQLite Error 1: 'no such table: Customers'.", 1))!.Message, StringComparison.Ordinal);
    }
}
