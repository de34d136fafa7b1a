using System.Linq.Expressions;
using EfEnvelope.Conventions;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Infrastructure;

/// <summary>
/// Saves and compiles queries for models alone that encrypt what is declared, under the tenant of the options. Where the model comes from a cache of the application's own (<c>UseMemoryCache</c>), other options of the same context type
/// may have made it, and nothing of these ones saw it before.
/// </summary>
internal sealed class CheckedModelDatabase(IDatabase inner, ICurrentDbContext current, bool hasTenant) : IDatabase
{
    public int SaveChanges(IList<IUpdateEntry> entries) => Checked().SaveChanges(entries);

    public Task<int> SaveChangesAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken = default) => Checked().SaveChangesAsync(entries, cancellationToken);

    public Func<QueryContext, TResult> CompileQuery<TResult>(Expression query, bool async) => Checked().CompileQuery<TResult>(query, async);

    public Expression<Func<QueryContext, TResult>> CompileQueryExpression<TResult>(Expression query, bool async) => Checked().CompileQueryExpression<TResult>(query, async);

    private IDatabase Checked()
    {
        FinishedModel.RequireOnce(current.Context.Model, hasTenant);
        return inner;
    }
}
