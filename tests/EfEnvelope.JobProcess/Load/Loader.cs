using Microsoft.EntityFrameworkCore;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.JobProcess.Load;

/// <summary>Makes the tables and the first rows. On PostgreSQL items are sealed here and copied in.</summary>
internal static class Loader
{
    public static async Task RunAsync(Target target, long rows, int tenants, IReadOnlyCollection<string> kinds, CancellationToken cancellationToken = default)
    {
        await using (var context = target.CreateContext())
        {
            await context.Database.EnsureCreatedAsync(cancellationToken);
        }

        if (kinds.Contains("Item"))
        {
            await (target.IsPostgres ? CopyItemsAsync(target, rows, tenants, cancellationToken) : AddAsync<Item>(target, rows, tenants, cancellationToken));
        }

        await (kinds.Contains("Paper") ? AddAsync<Paper>(target, rows, tenants, cancellationToken) : Task.CompletedTask);
        await (kinds.Contains("Card") ? AddAsync<Card>(target, rows, tenants, cancellationToken) : Task.CompletedTask);
        await (kinds.Contains("Ledger") ? AddAsync<Ledger>(target, rows, tenants, cancellationToken) : Task.CompletedTask);
    }

    private static async Task AddAsync<T>(Target target, long rows, int tenants, CancellationToken cancellationToken)
        where T : class, IChaosRow, new()
    {
        for (long low = 0; low < rows; low += 500)
        {
            await using var context = target.CreateContext();
            for (var number = low; number < Math.Min(rows, low + 500); number++)
            {
                var row = new T { Id = number, Number = number, TenantId = Values.Tenant(number, tenants) };
                Values.Fill(row, RowState.Initial);
                context.Add(row);
            }

            await context.SaveChangesAsync(cancellationToken);
        }
    }

    private static async Task CopyItemsAsync(Target target, long rows, int tenants, CancellationToken cancellationToken)
    {
        await using var context = target.CreateContext();
        var protector = new EnvelopeProtector(context);
        await using var connection = new NpgsqlConnection(target.ConnectionString);
        await connection.OpenAsync(cancellationToken);
        await using (var importer = await connection.BeginBinaryImportAsync("COPY \"Items\" (\"Id\", \"Number\", \"TenantId\", \"First\", \"Second\") FROM STDIN (FORMAT BINARY)", cancellationToken))
        {
            for (long number = 0; number < rows; number++)
            {
                var scope = EnvelopeScope.Tenant(Values.Tenant(number, tenants));
                var first = await protector.SealAsync((Item i) => i.First!, Values.Text(number, 0, 'f')!, scope, cancellationToken: cancellationToken);
                var second = await protector.SealAsync((Item i) => i.Second!, Values.Text(number, 0, 's')!, scope, cancellationToken: cancellationToken);
                await importer.StartRowAsync(cancellationToken);
                await importer.WriteAsync(number, NpgsqlDbType.Bigint, cancellationToken);
                await importer.WriteAsync(number, NpgsqlDbType.Bigint, cancellationToken);
                await importer.WriteAsync(Values.Tenant(number, tenants), NpgsqlDbType.Integer, cancellationToken);
                await importer.WriteAsync(first, NpgsqlDbType.Bytea, cancellationToken);
                await importer.WriteAsync(EnvelopeProtector.Arm(second), NpgsqlDbType.Text, cancellationToken);
            }

            await importer.CompleteAsync(cancellationToken);
        }

        await using var analyze = connection.CreateCommand();
        analyze.CommandText = "VACUUM ANALYZE \"Items\"";
        analyze.CommandTimeout = 0;
        await analyze.ExecuteNonQueryAsync(cancellationToken);
    }
}
