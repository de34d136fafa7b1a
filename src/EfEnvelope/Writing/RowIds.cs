using System.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Writing;

/// <summary>Fetches the row id of a row whose entity was not loaded, on the context's own connection and transaction.</summary>
internal static class RowIds
{
    /// <summary>As <see cref="FindAsync"/>, of a row that is to have one.</summary>
    /// <exception cref="MissingScopeException">It does not exist, or has none.</exception>
    public static async Task<Guid> FetchAsync(DbContext context, IEntityType type, IProperty rowId, Func<IProperty, object?> value, CancellationToken cancellationToken)
        => await FindAsync(context, type, rowId, value, cancellationToken).ConfigureAwait(false) ?? throw new MissingScopeException(
            $"{type.DisplayName()}: the row that is to be updated does not exist or has no row id ({rowId.Name}), so its data key is not known. Nothing was written.")
        {
            Entity = type.DisplayName(),
            Property = rowId.Name,
        };

    /// <param name="context">The context.</param>
    /// <param name="type">The row's own type: of a hierarchy with a table for each type, the root has none.</param>
    /// <param name="rowId">The root's property that names the row's keys.</param>
    /// <param name="value">The values of the primary key.</param>
    /// <param name="cancellationToken">Cancels the query.</param>
    /// <returns>Null where the row does not exist or has no row id.</returns>
    public static async Task<Guid?> FindAsync(DbContext context, IEntityType type, IProperty rowId, Func<IProperty, object?> value, CancellationToken cancellationToken)
    {
        var table = RowTable.Of(type, [rowId], context.GetService<ISqlGenerationHelper>())[0];
        return await RowTable.AskAsync(
            context,
            async command =>
            {
                command.CommandText = $"SELECT {table.Column(rowId)} FROM {table.Name} WHERE {table.Condition(command, value, [])}";
                using var reader = await command.ExecuteReaderAsync(CommandBehavior.SingleRow, cancellationToken).ConfigureAwait(false);
                return await reader.ReadAsync(cancellationToken).ConfigureAwait(false) && RowTable.ReadGuid(reader, 0, rowId) is var found && found != Guid.Empty ? found : (Guid?)null;
            },
            cancellationToken).ConfigureAwait(false);
    }
}
