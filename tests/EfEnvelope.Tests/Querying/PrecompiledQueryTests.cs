using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

// Precompiled queries are experimental in EF.
#pragma warning disable EF9100

namespace EfEnvelope.Tests.Querying;

public sealed class SqlitePrecompiledQueryTests() : PrecompiledQueryTests("SQLite");

public sealed class PostgresPrecompiledQueryTests() : PrecompiledQueryTests("PostgreSQL");

/// <summary>What <c>dotnet ef dbcontext optimize --precompile-queries</c> does with a query: it needs no database.</summary>
public abstract class PrecompiledQueryTests(string provider)
{
    [Fact]
    public async Task A_query_with_encrypted_properties_is_refused_and_any_other_is_served()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new BankContext(database.Options());
        var compiler = context.GetService<IDatabase>();

        Assert.NotNull(compiler.CompileQueryExpression<IEnumerable<Plain>>(context.Plains.Where(p => p.Id > 3).Expression, async: false));
        Assert.NotNull(compiler.CompileQueryExpression<IEnumerable<string>>(context.Customers.Select(c => c.Branch).Expression, async: false));
        foreach (var query in new Action[]
        {
            () => compiler.CompileQueryExpression<IEnumerable<Customer>>(context.Customers.AsQueryable().Expression, async: false),
            () => compiler.CompileQueryExpression<IEnumerable<string>>(context.Customers.Select(c => c.FullName).Expression, async: false),
        })
        {
            Assert.Contains("--precompile-queries", Assert.Throws<EnvelopeQueryException>(query).Message, StringComparison.Ordinal);
        }
    }
}
