using System.Linq.Expressions;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Querying;

/// <summary>Turns constants that <c>ExecuteUpdate</c> sets on encrypted properties into runtime parameters: a literal in cached SQL could not be sealed.</summary>
internal sealed class EnvelopeQueryPreprocessorFactory(IQueryTranslationPreprocessorFactory inner, QueryTranslationPreprocessorDependencies dependencies) : IQueryTranslationPreprocessorFactory
{
    public QueryTranslationPreprocessor Create(QueryCompilationContext queryCompilationContext)
        => new Preprocessor(dependencies, queryCompilationContext, inner.Create(queryCompilationContext));

    private sealed class Preprocessor(QueryTranslationPreprocessorDependencies dependencies, QueryCompilationContext context, QueryTranslationPreprocessor inner)
        : QueryTranslationPreprocessor(dependencies, context)
    {
        public override Expression Process(Expression query)
            => inner.Process(query is MethodCallExpression { Method.Name: "ExecuteUpdate" } && QueryCompilationContext.Model.IsEnvelopeEnabled() ? new SetterVisitor(QueryCompilationContext).Visit(query) : query);
    }

    private sealed class SetterVisitor(QueryCompilationContext context) : ExpressionVisitor
    {
        private int _count;

        protected override Expression VisitMethodCall(MethodCallExpression node)
        {
            if (node.Method.Name != "ExecuteUpdate" || node.Arguments is not [var source, NewArrayExpression setters])
            {
                return base.VisitMethodCall(node);
            }

            return node.Update(null, [source, setters.Update(setters.Expressions.Select(Parameterize))]);
        }

        protected override Expression VisitExtension(Expression node) => node;

        private Expression Parameterize(Expression setter)
        {
            if (setter is not NewExpression { Arguments: [var property, var value] } tuple || !IsEncrypted(property))
            {
                return setter;
            }

            return tuple.Update([property, Parameter(value)]);
        }

        private Expression Parameter(Expression value) => value switch
        {
            UnaryExpression { NodeType: ExpressionType.Convert } convert => convert.Update(Parameter(convert.Operand)),
            ConstantExpression { Value: not null } constant => context.RegisterRuntimeParameter(
                $"__envelope_{_count++}", Expression.Lambda(Expression.Constant(constant.Value, constant.Type), QueryCompilationContext.QueryContextParameter)),
            _ => value,
        };

        private bool IsEncrypted(Expression property)
        {
            while (property is UnaryExpression quote)
            {
                property = quote.Operand;
            }

            var body = (property as LambdaExpression)?.Body;
            while (body is UnaryExpression { NodeType: ExpressionType.Convert } convert)
            {
                body = convert.Operand;
            }

            return body switch
            {
                MethodCallExpression { Method.Name: nameof(EF.Property), Arguments: [var target, ConstantExpression { Value: string name }] } => EncryptedMembers.Find(context.Model, target.Type, name),
                MemberExpression { Expression: not null } member => EncryptedMembers.Find(context.Model, member.Member.DeclaringType!, member.Member.Name)
                    ?? EncryptedMembers.FindInStructure(context.Model, member.Type),
                _ => null,
            } is not null;
        }
    }
}
