using System.Data.Common;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope.Census;

/// <summary>Reads what a database says of the application's own tables and of the job's: what somebody must put right is told as such.</summary>
internal static class TableErrors
{
    /// <returns>Null for any other failure.</returns>
    public static EnvelopeConfigurationException? Explain(DbException error)
    {
        if (error.SqlState == "42501")
        {
            return new EnvelopeConfigurationException(
                $"The database refuses, or row-level security would hide rows from this role, which would make a census a lie ({RingErrors.Describe(error)}) Use a role with BYPASSRLS, or the tables' owner, that may read and write them. Nothing more was changed; run it again.", error);
        }

        if (error.SqlState == "53200")
        {
            return new EnvelopeConfigurationException(
                $"The database cannot lock all tables that a census counts ({RingErrors.Describe(error)}) Raise max_locks_per_transaction. Nothing more was changed; run it again.", error);
        }

        if (error.SqlState is "26000" or "42P05")
        {
            return new EnvelopeConfigurationException(
                $"A prepared statement is not there, or is there already ({RingErrors.Describe(error)}): a pooler in transaction mode hands the job's connection from server to server. Run jobs with a connection of their own to the server, or in session mode. What was committed stands; run it again.", error);
        }

        if (RingErrors.IsMissingJson(error))
        {
            return RingErrors.MissingJson(error);
        }

        if (RingErrors.IsMissingTable(error))
        {
            return new EnvelopeConfigurationException(
                $"The database lacks a table of the model: {RingErrors.Describe(error)} If it is one of EfEnvelope's (ring, keys, jobs, units, quarantine), add a migration (`dotnet ef migrations add AddEnvelopeKeyRing`) and apply it; else apply the application's. Nothing more was changed; run it again.", error);
        }

        return error.SqlState == "42703" || error.Message.Contains("no such column", StringComparison.OrdinalIgnoreCase)
            ? new EnvelopeConfigurationException($"The database does not match the model: {RingErrors.Describe(error)} Apply the application's migrations. Nothing more was changed; run it again.", error)
            : null;
    }
}
