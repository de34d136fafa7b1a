using Npgsql;

namespace EfEnvelope.Tests.Postgres;

public sealed class PostgresServerTests
{
    [Fact]
    public async Task A_real_server_answers_and_gives_out_separate_databases()
    {
        var server = await PostgresServer.GetAsync();
        var one = await server.CreateDatabaseAsync();
        var two = await server.CreateDatabaseAsync();
        Assert.NotEqual(one, two);

        await using var connection = new NpgsqlConnection(one);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand("SELECT current_setting('server_version_num')::int", connection);
        Assert.True((int)(await command.ExecuteScalarAsync())! >= 130000);
    }
}
