using System.Data;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Writing;

/// <summary>Fetches the row id of a row whose entity was not loaded, on the context's own connection and transaction.</summary>
internal static class RowIds
{
    public static async Task<Guid> FetchAsync(DbContext context, IEntityType root, IProperty rowId, Func<IProperty, object?> value, CancellationToken cancellationToken)
    {
        var table = new TableSql(root, context.GetService<ISqlGenerationHelper>());
        var connection = context.Database.GetDbConnection();
        await context.Database.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            using var command = connection.CreateCommand();
            command.Transaction = context.Database.CurrentTransaction?.GetDbTransaction();
            var conditions = root.FindPrimaryKey()!.Properties.Select(p => $"{table[p.Name]} = {table.Add(command, p.Name, value(p))}");
            command.CommandText = $"SELECT {table[rowId.Name]} FROM {table.Name} WHERE {string.Join(" AND ", conditions)}";
            using var reader = await command.ExecuteReaderAsync(CommandBehavior.SingleRow, cancellationToken).ConfigureAwait(false);
            return await reader.ReadAsync(cancellationToken).ConfigureAwait(false) && table.Read<Guid>(reader, 0, rowId.Name) is var found && found != Guid.Empty
                ? found
                : throw new MissingScopeException(
                    $"{root.DisplayName()}: the row that is to be updated does not exist or has no row id ({rowId.Name}), so its data key is not known. Nothing was written.")
                {
                    Entity = root.DisplayName(),
                    Property = rowId.Name,
                };
        }
        finally
        {
            await context.Database.CloseConnectionAsync().ConfigureAwait(false);
        }
    }
}
