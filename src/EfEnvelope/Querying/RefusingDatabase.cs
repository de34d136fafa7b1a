using System.Linq.Expressions;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Querying;

/// <summary>
/// Names the encrypted property where EF or the provider gives up on an operator before there is a SQL tree to judge: they know a column of bytes where the query has a collection, a date or a
/// document, and say so in their own words (Npgsql even by an InvalidCastException).
/// </summary>
internal sealed class RefusingDatabase(IDatabase inner, ICurrentDbContext current) : IDatabase
{
    public int SaveChanges(IList<IUpdateEntry> entries) => inner.SaveChanges(entries);

    public Task<int> SaveChangesAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken = default) => inner.SaveChangesAsync(entries, cancellationToken);

    public Func<QueryContext, TResult> CompileQuery<TResult>(Expression query, bool async)
    {
        try
        {
            return inner.CompileQuery<TResult>(query, async);
        }
        catch (Exception error) when (Refuse(query, error) is { } refused)
        {
            throw refused;
        }
    }

    public Expression<Func<QueryContext, TResult>> CompileQueryExpression<TResult>(Expression query, bool async)
    {
        try
        {
            return QueryPrecompilation.Run(() => inner.CompileQueryExpression<TResult>(query, async));
        }
        catch (Exception error) when (Refuse(query, error) is { } refused)
        {
            throw refused;
        }
    }

    /// <summary>Null where no operator on an encrypted property explains the error. EF's error is not kept as the inner one: it prints the query's literals.</summary>
    private EnvelopeQueryException? Refuse(Expression query, Exception error)
    {
        // A constant of a document is rendered while the query is compiled, and its encrypted members find no command to be sealed for.
        if (error is OutOfMemoryException or OperationCanceledException or EnvelopeEncryptionException and not EnvelopeConfigurationException { ColumnId: not null })
        {
            return null;
        }

        // What EF cannot translate in the last projection it evaluates on the client: there it is no reason for its error.
        return UntranslatedOperator.Find(query, current.Context.Model, projections: error is not InvalidOperationException) is { } found
            ? QueryRefusal.Operation(found.Property, found.Operation)
            : null;
    }
}
