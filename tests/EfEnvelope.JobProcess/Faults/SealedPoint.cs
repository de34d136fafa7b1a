using System.Data.Common;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>Stands between the sealing of a save's values and the sending of its statement.</summary>
internal sealed class SealedPoint(FaultPlan faults) : DbCommandInterceptor
{
    public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
    {
        if (eventData.CommandSource == CommandSource.SaveChanges)
        {
            faults.Reach(FaultPlan.Sealed);
        }

        return new(result);
    }
}
