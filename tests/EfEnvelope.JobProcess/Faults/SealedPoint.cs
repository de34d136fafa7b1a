using System.Data.Common;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>Stands between the sealing of a save's values and the sending of its statement: where that is made, and commits by itself. Not where the connection is opened, which happens before keys are chosen where there is an interceptor for it.</summary>
internal sealed class SealedPoint(Action reach) : DbCommandInterceptor
{
    public override InterceptionResult<DbCommand> CommandCreating(CommandCorrelatedEventData eventData, InterceptionResult<DbCommand> result)
    {
        if (eventData is { CommandSource: CommandSource.SaveChanges, Context.Database.CurrentTransaction: null })
        {
            reach();
        }

        return result;
    }
}
