using System.Data.Common;
using EfEnvelope.JobProcess.Load;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>Stands between the choice of a save's keys and the sending of its statement: where its connection is opened.</summary>
internal sealed class SealedPoint(Action reach) : DbConnectionInterceptor
{
    public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
        DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
    {
        if (eventData.Context is LoadContext context && context.ChangeTracker.Entries().Any(e => e.State != Microsoft.EntityFrameworkCore.EntityState.Unchanged))
        {
            reach();
        }

        return new(result);
    }
}
